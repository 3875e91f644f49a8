from django.apps import AppConfig


class CampaignsConfig(AppConfig):
    name = "terminals.campaigns"
    verbose_name = "Campaigns"
