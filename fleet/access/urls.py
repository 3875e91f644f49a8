"""The addresses of django-allauth that are open here: nobody signs up, and there is no mail."""

from allauth.account import views
from django.urls import include, path

from fleet.access.sessions import own_sessions

account_urls = [
    path("login/", views.login, name="account_login"),
    path("logout/", views.logout, name="account_logout"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("signup/", views.signup, name="account_signup"),  # says that it is closed
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("second-factors/", include("allauth.mfa.urls")),
    path("sessions/", own_sessions, name="usersessions_list"),
    path("single-sign-on/", include("allauth.socialaccount.urls")),
    path("single-sign-on/", include("allauth.socialaccount.providers.openid_connect.urls")),
]
