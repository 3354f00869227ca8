"""Settings: what is read, what is refused and in which words, and that secrets do not show."""

import re
import stat
from pathlib import Path

import pytest

from infra import settings

COMPLETE = {
    "FACTORY_AMQP_URL": "amqp://factory:rabbit-secret@127.0.0.1:5672/",
    "FACTORY_AMQP_ADMIN_URL": "http://factory:rabbit-secret@127.0.0.1:15672",
    "FACTORY_DATABASE_URL": "postgresql://factory:owner-secret@127.0.0.1:5432/factory",
    "FACTORY_WORKER_DATABASE_URL": "postgresql://factory_worker:worker-secret@127.0.0.1:5432/factory",
    "FACTORY_S3_ENDPOINT": "http://127.0.0.1:9000",
    "FACTORY_S3_ACCESS_KEY": "access-secret",
    "FACTORY_S3_SECRET_KEY": "key-secret",
}


def environment(home: Path, **changes: str) -> dict[str, str]:
    return {**COMPLETE, "FACTORY_HOME": str(home), **changes}


def test_a_complete_environment_gives_settings_with_defaults(tmp_path: Path) -> None:
    loaded = settings.load(environment(tmp_path))
    assert loaded.amqp_url == COMPLETE["FACTORY_AMQP_URL"]
    assert loaded.home == tmp_path
    assert (loaded.s3_bucket, loaded.slots, loaded.lease_seconds) == ("factory", 200, 30.0)
    assert loaded.fetch_allow == frozenset()


def test_secrets_do_not_show(tmp_path: Path) -> None:
    shown = repr(settings.load(environment(tmp_path))) + repr(settings.survey(environment(tmp_path)))
    assert "-secret" not in shown


def test_every_secret_is_known_as_it_is_and_as_it_is_written(tmp_path: Path) -> None:
    changes = {
        "FACTORY_DATABASE_URL": "postgresql://factory@127.0.0.1/factory?password=query-secret",
        "FACTORY_WORKER_DATABASE_URL": "postgresql://factory_worker:w%40rker-secret@127.0.0.1:5432/factory",
        "FACTORY_TRACES_ENDPOINT": "https://key:trace-secret@collector.example",
        "OPENAI_API_KEY": "model-secret",
        "OPENAI_BASE_URL": "https://key:gateway-secret@models.example/v1",
    }
    found = settings.load(environment(tmp_path, **changes))
    encoded = {"w%40rker-secret", "w@rker-secret"}
    models = {"model-secret", "gateway-secret"}
    assert found.secrets == {"rabbit-secret", "query-secret", "key-secret", "trace-secret", *models, *encoded}
    assert not any(secret in repr(found) for secret in {"trace-secret", *models})


@pytest.mark.parametrize("name", sorted(COMPLETE.keys() - {"FACTORY_AMQP_ADMIN_URL"}))
def test_a_missing_server_names_the_variable_and_the_remedy(tmp_path: Path, name: str) -> None:
    with pytest.raises(settings.SettingsError, match=rf"{name} is not set: set it, or run `factory up`"):
        settings.load(environment(tmp_path, **{name: ""}))


def test_the_management_address_may_be_missing(tmp_path: Path) -> None:
    assert settings.load(environment(tmp_path, FACTORY_AMQP_ADMIN_URL="")).amqp_admin_url == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FACTORY_AMQP_URL", "http://127.0.0.1", "give amqp://host:port or amqps://host:port"),
        ("FACTORY_AMQP_URL", "amqp://127.0.0.1:notaport", "is not a URL"),
        ("FACTORY_S3_ENDPOINT", "http://127.0.0.1:9000/bucket", "more than a host and a port"),
        ("FACTORY_SLOTS", "many", "FACTORY_SLOTS=many is not a whole number"),
        ("FACTORY_SLOTS", "1.5", "a whole number above 0, or unset it for 200"),
        ("FACTORY_BATCH_SIZE", "0", "FACTORY_BATCH_SIZE=0 is out of range"),
        ("FACTORY_DRAIN_SECONDS", "inf", "out of range"),
        ("FACTORY_DRAIN_SECONDS", "nan", "out of range"),
        ("FACTORY_RETENTION_DAYS", "-1", "give a whole number of at least 0, or unset it for 90"),
        ("FACTORY_RETENTION_DAYS", "0.5", "FACTORY_RETENTION_DAYS=0.5 is not a whole number"),
        ("FACTORY_LOG_FORMAT", "xml", "choose one of console, json"),
        ("FACTORY_LOG_SETTLEMENTS", "some", "choose one of all, failed"),
        ("FACTORY_TRACES_ENDPOINT", "localhost:4318", "give http://host:port or https://host:port"),
        ("FACTORY_TRACES_ENDPOINT", "http://", "cannot be used"),
        ("FACTORY_TRACES_ENDPOINT", "http://127.0.0.1:notaport", "is not a URL"),
        ("FACTORY_TRACES_RATIO", "1.5", "give a number of at least 0 and at most 1, or unset it for 1"),
        ("FACTORY_TRACES_RATIO", "-0.1", "FACTORY_TRACES_RATIO=-0.1 is out of range"),
        ("FACTORY_TRACES_RATIO", "nan", "out of range"),
        ("FACTORY_S3_BUCKET", "My Bucket", "is no bucket name"),
        ("FACTORY_FETCH_ALLOW", "localhost", "'localhost' is not host:port"),
        ("FACTORY_HEARTBEAT_SECONDS", "20", "raise the first or lower the second"),
    ],
)
def test_a_wrong_value_is_named_with_its_remedy(tmp_path: Path, name: str, value: str, words: str) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.load(environment(tmp_path, **{name: value}))
    assert name in str(caught.value)
    assert words in str(caught.value)


def test_what_is_old_may_be_kept_for_ever(tmp_path: Path) -> None:
    assert settings.load(environment(tmp_path)).retention_days == 90
    assert settings.load(environment(tmp_path, FACTORY_RETENTION_DAYS="0")).retention_days == 0


def test_a_refused_url_does_not_show_its_password(tmp_path: Path) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.load(environment(tmp_path, FACTORY_AMQP_URL="http://factory:rabbit-secret@127.0.0.1"))
    assert "-secret" not in str(caught.value)


def test_fetch_allow_is_a_list_of_sockets(tmp_path: Path) -> None:
    loaded = settings.load(environment(tmp_path, FACTORY_FETCH_ALLOW="127.0.0.1:8080, [::1]:80 ,Feeds.Test:81"))
    assert loaded.fetch_allow == {"127.0.0.1:8080", "[::1]:80", "feeds.test:81"}


def test_the_stack_file_completes_what_the_environment_leaves_out(tmp_path: Path) -> None:
    settings.write_stack(tmp_path, COMPLETE)
    loaded = settings.load({"FACTORY_HOME": str(tmp_path), "FACTORY_SLOTS": "7"})
    assert loaded.database_url == COMPLETE["FACTORY_DATABASE_URL"]
    assert loaded.slots == 7


def test_a_server_is_never_half_from_the_environment_and_half_from_the_stack(tmp_path: Path) -> None:
    settings.write_stack(tmp_path, COMPLETE)
    own = {"FACTORY_HOME": str(tmp_path), "FACTORY_DATABASE_URL": "postgresql://me@db.test/mine"}
    with pytest.raises(settings.SettingsError, match="FACTORY_WORKER_DATABASE_URL is not set"):
        settings.load(own)


def test_the_stack_file_is_private_and_keeps_any_value(tmp_path: Path) -> None:
    values = {"FACTORY_S3_SECRET_KEY": 'a\'b "c" $d #e'}
    settings.write_stack(tmp_path, {})
    settings.write_stack(tmp_path, values)
    assert settings.read_stack(tmp_path) == values
    assert stat.S_IMODE((tmp_path / settings.STACK_FILE).stat().st_mode) == 0o600


def test_the_home_folder_is_absolute_and_servers_named_by_the_environment_are_known(tmp_path: Path) -> None:
    around = settings.survey({"FACTORY_AMQP_URL": "amqp://broker.test"})
    assert around.home == Path.cwd() / ".factory"
    assert around.names("rabbitmq")
    assert not around.names("postgres")


def test_language_models_are_off_without_a_key_or_a_name(tmp_path: Path) -> None:
    assert not settings.load(environment(tmp_path)).llm.on
    assert not settings.load(environment(tmp_path, OPENAI_API_KEY="sk-secret")).llm.on
    assert not settings.load(environment(tmp_path, FACTORY_LLM_MODELS="gpt-5-mini")).llm.on
    found = settings.load(environment(tmp_path, OPENAI_API_KEY="sk-secret", FACTORY_LLM_MODELS="big, small,big")).llm
    assert found.on
    assert found.models == ("big", "small")
    assert found.url == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OPENAI_BASE_URL", "models.example", "cannot be used: give http://host:port or https://host:port"),
        ("FACTORY_LLM_MODELS", "gpt 5", "'gpt 5' is no name of a model: list names such as"),
        ("FACTORY_LLM_PRICES", "big=1/2", "'big=1/2' cannot be used: a price has three parts"),
        ("FACTORY_LLM_PRICES", "big=1/x/2", "'x' is no number of dollars"),
        ("FACTORY_LLM_SECONDS", "0", "give a number above 0 and at most 600"),
        ("FACTORY_LLM_TOKENS_PER_MINUTE", "-1", "of at least 0"),
    ],
)
def test_a_wrong_setting_of_language_models_is_told(tmp_path: Path, name: str, value: str, words: str) -> None:
    with pytest.raises(settings.SettingsError, match=re.escape(words)) as refused:
        settings.load(environment(tmp_path, **{name: value}))
    assert str(refused.value).startswith(name)
