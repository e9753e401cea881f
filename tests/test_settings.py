"""Settings: one file, replaced by the environment, refused in words that never repeat a value."""

from pathlib import Path

import pytest

from pipelines.settings import Settings, SettingsError, load_settings, shown

SECRET = "hunter2-of-the-broker"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WELLSPRING_CONFIG", raising=False)


def written(folder: Path, text: str, name: str = "wellspring.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_smallest_file_is_an_empty_one(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, ""))
    assert (settings.limits.freshness_s, settings.limits.hold_hours) == (10.0, 72.0)
    assert settings.hold_us == 72 * 3600 * 1_000_000
    assert settings.lake == tmp_path / "lake"
    assert settings.consent_topic == "authority.consent-event.v1"
    assert settings.link_topic == "authority.identity-link.v1"


def test_paths_are_relative_to_the_file_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "lake: data/lake\nvault: /srv/vault\nkafka: {ca_file: ca.pem, cert_file: tls/own.pem, key_file: /srv/own.key}\n"
    )
    path = written(tmp_path / "etc", text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = load_settings(path)
    assert settings.lake == tmp_path / "etc" / "data" / "lake"
    assert settings.vault == Path("/srv/vault")
    assert settings.kafka.ca_file == tmp_path / "etc" / "ca.pem"
    assert settings.kafka.cert_file == tmp_path / "etc" / "tls" / "own.pem"
    assert settings.kafka.key_file == Path("/srv/own.key")
    assert Path.cwd() == tmp_path / "elsewhere"


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "authority: one\nkafka: {bootstrap: 'a:1'}\nlimits: {freshness_s: 5, plan_records: 7}\n")
    monkeypatch.setenv("WELLSPRING_AUTHORITY", "two")
    monkeypatch.setenv("WELLSPRING_KAFKA__BOOTSTRAP", "b:2")
    monkeypatch.setenv("WELLSPRING_LIMITS__FRESHNESS_S", "0.5")
    settings = load_settings(path)
    assert (settings.authority, settings.kafka.bootstrap) == ("two", "b:2")
    assert (settings.limits.freshness_s, settings.limits.plan_records) == (0.5, 7)


def test_secrets_are_files_of_a_folder_and_a_variable_goes_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes lays them out, with links to what it changes at one stroke, and others' secrets among them."""
    path = written(tmp_path, "kafka: {security: SASL_SSL, username: wellspring, password: of-the-file}\n")
    folder = tmp_path / "secrets"
    written(folder / "..2026_01_31", f"{SECRET}\n", "wellspring_kafka__password")
    written(folder, "another's", "s3_root_key")
    (folder / "..data").symlink_to("..2026_01_31")
    (folder / "wellspring_kafka__password").symlink_to("..data/wellspring_kafka__password")
    monkeypatch.setenv("WELLSPRING_SECRETS", str(folder))
    password = load_settings(path).kafka.password
    assert password is not None and password.get_secret_value() == SECRET
    assert SECRET not in str(shown(load_settings(path)))
    monkeypatch.setenv("WELLSPRING_KAFKA__PASSWORD", "of-the-variable")
    password = load_settings(path).kafka.password
    assert password is not None and password.get_secret_value() == "of-the-variable"


def test_a_folder_of_secrets_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLSPRING_SECRETS", str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=r"the environment: directory .*nowhere.* does not exist"):
        load_settings(written(tmp_path, ""))


def test_the_file_is_named_by_the_command_the_environment_or_convention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "authority: here\n")
    named = written(tmp_path / "etc", "authority: there\n", "other.yaml")
    assert load_settings(None).authority == "here"
    monkeypatch.setenv("WELLSPRING_CONFIG", str(named))
    assert load_settings(None).authority == "there"
    assert load_settings(tmp_path / "wellspring.yaml").authority == "here"


def test_a_missing_file_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no settings file .*none\.yaml.*--config or WELLSPRING_CONFIG"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match=r"wellspring\.yaml"):
        load_settings(None)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"limits: {{freshness_s: {SECRET}}}", "limits.freshness_s"),
        (f"authority: {SECRET.upper()}", "authority"),
        (f"kafka: {{bootstrap: 'a:{SECRET}'}}", "kafka"),
        (f"kafka: {{security: {SECRET}}}", "kafka.security"),
        (f"kafka: {{security: SASL_SSL, password: {SECRET}}}", "kafka"),
        (f"lakee: {SECRET}", "lakee"),
        ("limits: {hold_hours: 100000}", "limits.hold_hours"),
        (f"kafka: {SECRET}", "kafka"),
        (f"{SECRET}: [", "is not YAML at line"),
        (SECRET, "is not a mapping"),
        ("1: 2", "is not a mapping"),
    ],
)
def test_a_refusal_names_the_setting_and_never_its_value(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(written(tmp_path, text))
    assert f"wellspring.yaml: {where}" in str(raised.value) or f"wellspring.yaml {where}" in str(raised.value)
    assert SECRET not in repr(raised.value).lower()


def test_a_wrong_value_of_the_environment_is_refused_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLSPRING_LIMITS", SECRET)
    with pytest.raises(SettingsError) as raised:
        load_settings(written(tmp_path, ""))
    assert SECRET not in repr(raised.value) and "limits" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "variables", "words"),
    [
        ("", {"KAFKA__CONNECT_TIMEOUT_S": SECRET}, "the variable WELLSPRING_KAFKA__CONNECT_TIMEOUT_S: kafka.connect_"),
        ("limits: {plan_mb: 7}", {"LIMITS__PLAN_MB": "0"}, "the variable WELLSPRING_LIMITS__PLAN_MB: limits.plan_mb:"),
        ("", {"limits__plan_mb": "0"}, "the variable WELLSPRING_limits__plan_mb: limits.plan_mb:"),
        ("limits: {plan_mb: 0}", {"LIMITS__PLAN_FILES": "9"}, "wellspring.yaml: limits.plan_mb:"),
        ("", {"LIMITS": '{"plan_mb": 0}'}, "the variable WELLSPRING_LIMITS: limits.plan_mb:"),
        ("limits: {plan_mb: 0}", {"LIMITS": '{"plan_files": 9}'}, "wellspring.yaml: limits.plan_mb:"),
        (
            "",
            {"STEWARD__TRUSTED_PROXIES": f'["{SECRET}"]'},
            "the variable WELLSPRING_STEWARD__TRUSTED_PROXIES: steward",
        ),
        ("", {"STEWARD__TRUSTED_PROXIES": f"[{SECRET}"}, "WELLSPRING_STEWARD__TRUSTED_PROXIES: steward: expected JSON"),
        ("", {"LIMITS": SECRET}, "the variable WELLSPRING_LIMITS: limits: expected JSON"),
        ("", {"KAFKA__NO_SUCH": SECRET}, "the variable WELLSPRING_KAFKA__NO_SUCH: kafka.no_such:"),
        (
            "kafka: {username: op}",
            {"KAFKA__SECURITY": "SASL_SSL"},
            "yaml with the variable WELLSPRING_KAFKA__SECURITY: k",
        ),
    ],
)
def test_who_said_what_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"WELLSPRING_{name}", value)
    with pytest.raises(SettingsError) as raised:
        load_settings(written(tmp_path, text))
    assert words in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "WELLSPRING_KAFKA_BOOTSTRAP",
            "the variable WELLSPRING_KAFKA_BOOTSTRAP is the name of no setting: expected WELLSPRING_KAFKA__BOOTSTRAP",
        ),
        (
            "wellspring_vaultwork",
            "the variable wellspring_vaultwork is the name of no setting: expected WELLSPRING_VAULT_WORK",
        ),
        (
            "WELLSPRING_LIMIT__PLAN_MB",
            "the variable WELLSPRING_LIMIT__PLAN_MB is the name of no setting: expected WELLSPRING_LIMITS__PLAN_MB",
        ),
        ("WELLSPRING_ZZ__ZZ", "the variable WELLSPRING_ZZ__ZZ is the name of no setting: expected"),
    ],
)
def test_a_variable_that_would_be_passed_over_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(SettingsError) as raised:
        load_settings(written(tmp_path, ""))
    assert str(raised.value).startswith(words) and SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["WELLSPRING_CONFIG_2", "WELLSPRING_STEWARD_PASSWORD", "WELLSPRING_VAULT_AWS_REGION", "WELLSPRING_JAVA"]
)
def test_a_variable_of_another_s_is_nobody_s_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "x")
    assert load_settings(written(tmp_path, "")) == Settings()


def test_what_kubernetes_says_of_a_service_is_nobody_s_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLSPRING_STEWARD_SERVICE_HOST", "10.0.0.7")
    monkeypatch.setenv("WELLSPRING_STEWARD_PORT", "tcp://10.0.0.7:8080")
    monkeypatch.setenv("WELLSPRING_STEWARD_PORT_8080_TCP_ADDR", "10.0.0.7")
    load_settings(written(tmp_path, ""))


def test_a_secret_that_cannot_be_used_is_named_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "secrets", SECRET, "wellspring_limits__plan_mb")
    monkeypatch.setenv("WELLSPRING_SECRETS", str(tmp_path / "secrets"))
    with pytest.raises(
        SettingsError, match=r"^the file wellspring_limits__plan_mb in WELLSPRING_SECRETS: limits.plan_mb"
    ):
        load_settings(written(tmp_path, ""))


def test_a_password_is_used_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "kafka: {security: SASL_SSL, username: op}\n")
    monkeypatch.setenv("WELLSPRING_KAFKA__PASSWORD", SECRET)
    settings = load_settings(path)
    assert settings.kafka.password is not None and settings.kafka.password.get_secret_value() == SECRET
    for text in (repr(settings), str(settings), str(shown(settings)), settings.model_dump_json()):
        assert SECRET not in text and "op" in text


def test_every_setting_says_what_it_is(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, ""))
    for model in (type(settings), type(settings.limits)):
        assert [name for name, field in model.model_fields.items() if not field.description] == []
