"""The environment variables of the command line itself; `variegate serve` lists the services'."""

from collections.abc import Mapping

from gateway.cli.failures import CliError

_PREFIX = "VARIEGATE_"
VARIABLES = {
    "VARIEGATE_MODELS": "folder with clip/, captioner/ and diffusion/NAME/, as --models",
    "VARIEGATE_STATE": "as --state",
    "VARIEGATE_STORE": "as --store",
    "VARIEGATE_GATEWAY": "as --gateway",
    "VARIEGATE_TRAINER": "as --trainer",
    "VARIEGATE_TOKEN": "token for a gateway that asks its callers who they are",
    "VARIEGATE_TOKEN_FILE": "file with the token, read for every call",
    "VARIEGATE_TLS_CA": "as --tls-ca",
    "VARIEGATE_TLS_CERTIFICATE": "as --tls-certificate",
    "VARIEGATE_TLS_KEY": "as --tls-key",
    "VARIEGATE_ENGINE": "embedded, or triton",
    "VARIEGATE_PROMPTER": "embedded, or vllm",
    "VARIEGATE_TRITON_TRACES": "where Triton sends its part of traces, OTLP over HTTP",
    "VARIEGATE_TRITON_VENV": "environment that has Triton",
}


def check_variables(environ: Mapping[str, str]) -> None:
    """Raises CliError for a variable that looks like one of ours and is none."""
    from servicekit.settings import is_foreign, unknown_key

    for key, text in sorted(environ.items()):
        if key.startswith(_PREFIX) and key not in VARIABLES and not is_foreign(key, text):
            raise CliError(unknown_key(key, VARIABLES), reason="UNKNOWN_SETTING")
