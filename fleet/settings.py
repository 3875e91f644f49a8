"""Django settings. Every value of a deployment comes from the environment (see env.py)."""

from datetime import timedelta
from pathlib import Path

from fleet import artifacts, env, logs
from fleet.pages.look import UNFOLD  # noqa: F401 - a setting
from terminals.estate.rules import TerminalState

env.load_state_environment()

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = env.state_dir()

SECRET_KEY = env.required("SECRET_KEY", "signs sessions and download links")
SECRET_KEY_FALLBACKS = env.names("SECRET_KEY_FALLBACKS", "")  # earlier ones, while their sessions and links last
DEBUG = False
PUBLIC_URL = env.optional("PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
_HTTPS = PUBLIC_URL.startswith("https://")
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS", PUBLIC_URL)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
# Other hosts of the domain, and browsers' preload lists, are their owner's decision.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env.flag("HSTS_PRELOAD", default=False)
BEHIND_PROXY = env.flag("BEHIND_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# The reasons: TLS ends at the proxy that PUBLIC_URL names, `make run` is plain HTTP on loopback only, and see HSTS above.
SILENCED_SYSTEM_CHECKS = [
    "security.W004",
    "security.W005",
    "security.W008",
    "security.W012",
    "security.W016",
    "security.W021",
]

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "fleet.apps.FleetConfig",
    "fleet.pages",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "knox",
    "django_filters",
    "drf_spectacular",
    "django_celery_beat",
    "axes",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "fleet.access",
    "terminals.common",
    "terminals.estate",
    "terminals.bulk",
    "terminals.campaigns",
    "terminals.importing",
    "terminals.link",
    "terminals.enrolment",
    "terminals.parameters",
    "terminals.health",
    "terminals.keys",
    "terminals.settlement",
    "terminals.simulator",
    "firmware",
]
MIDDLEWARE = [
    "fleet.middleware.TraceRequests",
    "django.middleware.security.SecurityMiddleware",
    "fleet.middleware.RefuseNullCharacters",
    "fleet.middleware.RefuseTooLong",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "fleet.middleware.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "fleet.middleware.ReadersLanguageAndZone",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "fleet.access.sessions.SessionRules",
    "axes.middleware.AxesMiddleware",
]
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # nothing that is told lies in a cookie
LOGIN_URL, LOGIN_REDIRECT_URL = "account_login", "admin:index"
LOGOUT_REDIRECT_URL = "account_login"
ROOT_URLCONF = "fleet.urls"
WSGI_APPLICATION = "fleet.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
            ]
        },
    }
]

DATABASES = {"default": env.database(env.required("DATABASE_URL", "PostgreSQL 16 or newer"))}
# Past a pooler in transaction mode: for the links, and for what lasts longer than a transaction (LISTEN, locks).
DATABASE_DIRECT_URL = env.optional("DATABASE_DIRECT_URL", "")
DATABASE_DIRECT = env.database(DATABASE_DIRECT_URL) if DATABASE_DIRECT_URL else {}
DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = bool(DATABASE_DIRECT_URL)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# The first refuses whoever is locked out before a password is looked at; the second knows accounts and their grants.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "terminals.estate.grants.PlacedBackend"]
AXES_FAILURE_LIMIT, AXES_COOLOFF_TIME = 10, timedelta(minutes=30)
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]  # each for itself
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # or a stranger could lock an operator out for ever
AXES_DISABLE_ACCESS_LOG = True  # the audit has it
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
AXES_HTTP_RESPONSE_CODE, AXES_LOCKOUT_TEMPLATE = 429, "locked_out.html"
AXES_USERNAME_CALLABLE = "terminals.common.addresses.username_of"
AXES_CLIENT_IP_CALLABLE = "terminals.common.addresses.address_of"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# --- log-in: passwords and lock-out above; second factors, passkeys, sessions, single sign-on by django-allauth --------------
ACCOUNT_ADAPTER = "fleet.access.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS, ACCOUNT_SIGNUP_FIELDS = {"username"}, ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_RATE_LIMITS = False  # axes counts failures, of passwords and of codes
ACCOUNT_SESSION_REMEMBER = False  # the cookie goes with the browser
MFA_ADAPTER = "fleet.access.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_FORMS = {
    "authenticate": "fleet.access.forms.SecondFactorForm",
    "reauthenticate": "fleet.access.forms.SecondFactorAgainForm",
}
MFA_TOTP_ISSUER = "Tillwarden"
MFA_PASSKEY_LOGIN_ENABLED = MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not _HTTPS  # browsers allow it on localhost only
SOCIALACCOUNT_ADAPTER = "fleet.access.adapters.SingleSignOnAdapter"
SOCIALACCOUNT_LOGIN_ON_GET = True  # a form that leads to another site is against the content security policy
SOCIALACCOUNT_PROVIDERS = env.single_sign_on()
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = ""
REQUIRE_SECOND_FACTOR = env.flag("REQUIRE_SECOND_FACTOR", default=False)
SESSION_COOKIE_AGE = env.number("SESSION_HOURS", 12) * 3600
SESSION_IDLE_MINUTES = env.number("SESSION_IDLE_MINUTES", 60)
MOST_SESSIONS = env.number("MOST_SESSIONS", 10)  # of an operator; the oldest ends
FRESH_LOGIN_MINUTES = env.number("FRESH_LOGIN_MINUTES", 10)  # before keys, releases, roles and tokens are touched

# What web processes must share (used codes of second factors) lies in the database, or in Redis; counts of requests do not.
# Reports that are sent by a schedule.
EMAIL_URL = env.optional("EMAIL_URL", "")
vars().update(env.mail(EMAIL_URL))
DEFAULT_FROM_EMAIL = env.optional("EMAIL_FROM", "tillwarden@localhost")
CACHE_URL = env.optional("CACHE_URL", "")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": CACHE_URL}
    if CACHE_URL
    else {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "access_cache"},
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "fleet" / "locale"]
FORMAT_MODULE_PATH = "fleet.formats"
USE_TZ = True
TIME_ZONE = env.optional("TIME_ZONE", "UTC")  # how pages show time; the database keeps UTC
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "fleet" / "static"]
STATIC_ROOT = STATE_DIR / "static"
# Found where they lie, so that no `collectstatic` step stands between a checkout and a running page.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "artifacts": artifacts.storage(STATE_DIR / "artifacts"),
}
# A slow reader holds a web thread: of 8 threads a process at most so many serve downloads, so many for one terminal.
DOWNLOADS_PER_PROCESS = env.number("DOWNLOADS_PER_PROCESS", 4)
DOWNLOAD_KB_PER_SECOND = env.number("DOWNLOAD_KB_PER_SECOND", 0)  # of a process's downloads together; 0: no limit
DOWNLOADS_PER_TERMINAL = env.number("DOWNLOADS_PER_TERMINAL", 1)
ARTIFACT_ACCEL_PREFIX = env.optional("ARTIFACT_ACCEL_PREFIX", "")  # nginx's internal location, which sends the files
ARTIFACT_REDIRECT = env.flag("ARTIFACT_REDIRECT", default=False)  # send terminals to the storage's own address
FILE_UPLOAD_PERMISSIONS = 0o600

# --- device link -----------------------------------------------------------------------------------------------------
MQTT_URL = env.broker("MQTT_URL", env.required("MQTT_URL", "the MQTT broker, mqtts://host:port,host:port"))
MQTT_PUBLIC_URL = env.broker("MQTT_PUBLIC_URL", env.optional("MQTT_PUBLIC_URL", MQTT_URL))  # told at enrolment
MQTT_CA_FILE = env.optional("MQTT_CA_FILE", "")
# Who signs the broker's certificate, as terminals are told; theirs is the links' unless they come in elsewhere.
MQTT_PUBLIC_CA_FILE = env.optional("MQTT_PUBLIC_CA_FILE", MQTT_CA_FILE if MQTT_PUBLIC_URL == MQTT_URL else "")
MQTT_CERTIFICATE_FILE = env.optional("MQTT_CERTIFICATE_FILE", "")
MQTT_KEY_FILE = env.optional("MQTT_KEY_FILE", "")
MQTT_CLIENT_PREFIX = env.optional("MQTT_CLIENT_PREFIX", "tillwarden")  # of the links' client ids
LINK_LANES = env.divisor("LINK_LANES", 16, of=256)  # connections that the links of an installation share out
LINK_INBOXES = env.number(
    "LINK_INBOXES", 2, at_least=1
)  # of a link process; one parses while the database works for another
# hawkBit's device interface, for devices that speak it already (docs/operations.md).
HAWKBIT_DDI, HAWKBIT_TENANT = env.flag("HAWKBIT_DDI", default=False), env.optional("HAWKBIT_TENANT", "DEFAULT")
HAWKBIT_POLL_SECONDS = env.number("HAWKBIT_POLL_SECONDS", 60)
HAWKBIT_CERTIFICATE_HEADER = env.optional("HAWKBIT_CERTIFICATE_HEADER", "")
EST_CERTIFICATE_HEADER = env.optional("EST_CERTIFICATE_HEADER", "")  # in which the proxy hands on what it checked
# Devices that nobody registered may ask to enrol, and wait until an operator lets them in.
ENROLMENT_QUEUE = env.flag("ENROLMENT_QUEUE", default=False)
# Disputes reach back further than a year: EMV schemes allow 540 days.
KEEP_TRANSACTIONS_MONTHS = env.number("KEEP_TRANSACTIONS_MONTHS", 25)
# A terminal's event is taken for 90 days and may name its command.
KEEP_COMMANDS_MONTHS = env.number("KEEP_COMMANDS_MONTHS", 13, at_least=4, at_most=1200)
ONLINE_WITHIN = timedelta(seconds=env.number("ONLINE_WITHIN_SECONDS", 60))

# --- secrets, as files so that no process listing shows them ---------------------------------------------------------
COMMAND_SIGNING_KEY_FILE = env.required("COMMAND_SIGNING_KEY_FILE", "PEM, EC P-256: signs commands to terminals")
RELEASE_SIGNING_KEY_FILE = env.required("RELEASE_SIGNING_KEY_FILE", "PEM, EC P-256: signs assignments of releases")
TUF_ONLINE_KEY_FILE = env.required(
    "TUF_ONLINE_KEY_FILE", "PEM, EC P-256: keeps the release repository fresh (docs/releases.md)"
)
# Without it, each platform's releases are listed by the signatures of custodians.
TUF_PLATFORM_KEY_FILE = env.optional_file("TUF_PLATFORM_KEY_FILE")
DEVICE_CA_CERTIFICATE_FILE = env.required("DEVICE_CA_CERTIFICATE_FILE", "PEM: the roots of terminals' certificates")
# While a key replaces another, both are trusted: PEM bundles of the public keys of those that come or go.
TRUSTED_COMMAND_KEYS_FILE = env.optional_file("TRUSTED_COMMAND_KEYS_FILE")
TRUSTED_RELEASE_KEYS_FILE = env.optional_file("TRUSTED_RELEASE_KEYS_FILE")
TRUSTED_AUDIT_KEYS_FILE = env.optional_file("TRUSTED_AUDIT_KEYS_FILE")
AUDIT_SIGNING_KEY_FILE = env.required("AUDIT_SIGNING_KEY_FILE", "PEM, EC P-256: signs the audit's anchors")
AUDIT_ANCHOR_FILE = env.optional("AUDIT_ANCHOR_FILE", str(STATE_DIR / "audit-anchors.jsonl"))
VAULT_MASTER_KEY_FILE = env.required("VAULT_MASTER_KEY_FILE", "encrypts keys at rest; 32 bytes in hex a line")

env.refuse_shared_files(
    {
        "COMMAND_SIGNING_KEY_FILE": COMMAND_SIGNING_KEY_FILE,
        "RELEASE_SIGNING_KEY_FILE": RELEASE_SIGNING_KEY_FILE,
        "AUDIT_SIGNING_KEY_FILE": AUDIT_SIGNING_KEY_FILE,
        "TUF_ONLINE_KEY_FILE": TUF_ONLINE_KEY_FILE,
        "TUF_PLATFORM_KEY_FILE": TUF_PLATFORM_KEY_FILE,
    }
)

# --- background work -------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.required("CELERY_BROKER_URL", "redis://, amqp:// or filesystem:// for Celery")
if CELERY_BROKER_URL.startswith("filesystem"):
    _queue = STATE_DIR / "queue"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_queue / "in"),
        "data_folder_out": str(_queue / "in"),
        "processed_folder": str(_queue / "processed"),
        "control_folder": str(_queue / "control"),
        "store_processed": False,
    }
if CELERY_BROKER_URL.startswith("amqp"):
    # A classic queue lives on one node of a cluster, and ends with it; and what was sent is sent only once it is stored.
    CELERY_TASK_DEFAULT_QUEUE_TYPE = "quorum"
    CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "tillwarden"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True  # we have none; unset, Celery warns at each loss
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CONSUMER = "fleet.worker:Consumer"
# Remote control's queue (pidbox) stays locked for seconds after the death of its node; /readyz tells whether workers live.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TIMEZONE = "UTC"

# --- the operator's API ----------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "fleet.access.tokens.ApiTokens",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["terminals.common.api.permissions.StaffWithPermission"],
    "DEFAULT_THROTTLE_CLASSES": ["fleet.access.tokens.RequestsPerMinute"],
    "DEFAULT_FILTER_BACKENDS": ["terminals.common.api.filters.FilterBackend"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["terminals.common.api.parsers.InteroperableJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "terminals.common.api.schema.OperationSchema",
    "EXCEPTION_HANDLER": "terminals.common.api.base.problem_response",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
KNOX_TOKEN_MODEL = "access.ApiToken"  # noqa: S105 - a name
MIGRATION_MODULES = {"knox": None}  # its own table would stand beside ours
REST_KNOX = {"TOKEN_TTL": None, "AUTH_HEADER_PREFIX": "Bearer"}
API_REQUESTS_PER_MINUTE = env.number(
    "API_REQUESTS_PER_MINUTE", 10_000
)  # of a token, by each web process; 0 for no limit
SPECTACULAR_SETTINGS = {
    "TITLE": "Tillwarden operator API",
    "DESCRIPTION": "Enrol, configure, update, watch and settle a fleet of card terminals.",
    "VERSION": "1",
    "COMPONENT_SPLIT_REQUEST": True,
    "OAS_VERSION": "3.1.0",  # whose schemas are JSON Schema, so that the tests can hold answers against them
    "SERVE_INCLUDE_SCHEMA": False,
    "DISABLE_ERRORS_AND_WARNINGS": True,  # of names that it makes up itself, at each request
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    # What it would give a made-up name, or two.
    "ENUM_NAME_OVERRIDES": {
        "TerminalStateEnum": [(state.value, state.value) for state in TerminalState],
        "CheckSeverityEnum": [(one, one) for one in ("block", "warn", "ignore")],
        "ReportFormatEnum": [(one, one.upper()) for one in ("csv", "xlsx", "pdf")],
        "CreditFormatEnum": [("camt", "camt"), ("csv", "csv")],
        "SettlementTriggerEnum": [(one, one) for one in ("cycle", "threshold", "count", "operator", "terminal")],
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024


LOGGING = logs.LOGGING
