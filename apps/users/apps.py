from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "apps.users"

    def ready(self) -> None:
        from project import origins  # noqa: F401  # says which pages may call with a person's token
