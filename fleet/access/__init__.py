"""How operators prove who they are: log-in, second factors, single sign-on, sessions, fresh log-ins, API tokens."""
