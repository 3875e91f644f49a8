from django.apps import AppConfig


class EnrolmentConfig(AppConfig):
    name = "terminals.enrolment"
    verbose_name = "Enrolment"
