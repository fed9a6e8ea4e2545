"""Every setting of the server: its flag, its environment variable, its default and its bounds."""

import os
import re
from argparse import Action, HelpFormatter
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, ByteSize, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from server import cgroup
from server.backup.backups import ImportOnStart
from server.batcher import BatchLimits
from server.logs import LogFormat
from server.model.header import ImageLimits
from server.remote.connect import check_url
from server.remote.s3_options import S3Options
from server.retention import Keep

PREFIX: Final = "SERVER_"
ImageFormat = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"]
Runner = Literal["process", "thread"]
METAVARS: Final = {
    "str": "TEXT",
    "int": "N",
    "float": "N",
    "Path": "PATH",
    "ByteSize": "BYTES",
    "tuple": "FORMATS",
}
_ORIGIN: Final = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
MIB: Final = 2**20
WORKER_BYTES: Final = 256 * MIB
"""Memory for each worker: the default model takes 100 MB, the rest is for the images it decodes."""
Seconds = Annotated[float, Field(gt=0, le=1_000_000)]  # poll takes no more than 24 days


def _check_keep(text: str) -> str:
    Keep.parse(text)
    return text


def _check_origins(text: str) -> str:
    origins = [each.strip().lower() for each in text.split(",")]
    if all(each == "*" or _ORIGIN.fullmatch(each) for each in origins):
        return ",".join(origins)
    raise ValueError("should be * or origins as https://app.example, without a path")


def _check_file(path: Path) -> Path:
    try:
        is_file = path.is_file()  # a pipe could be read only once
        if is_file:
            path.open("rb").close()
    except OSError as error:
        raise ValueError(f"it can't be read: {error.strerror}") from None
    if not is_file:
        raise ValueError("there is no such file")
    return path


ReadableFile = Annotated[Path, AfterValidator(_check_file)]


class _Help(HelpFormatter):
    """Help that shows values as a person types them."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)

    def add_argument(self, action: Action) -> None:
        if isinstance(action.metavar, str):
            action.metavar = METAVARS.get(action.metavar.partition("[")[0], action.metavar)
        if action.help:
            shown = action.help.removesuffix(" (default: null)")
            action.help = re.sub(r"(?<=default: )\('(.*)'\)", r"\1", shown).replace("', '", ",")
        super().add_argument(action)


class BadSettingError(Exception):
    """A flag or variable has a value that is not accepted; one line that names it."""


class Settings(BaseSettings):
    """Serve one image model over HTTP: uploads in, JSON answers out, every result kept.

    Each flag is also an environment variable: SERVER_PORT is --port. A flag wins. The port may
    also be told by PORT, as hosts of containers do; SERVER_PORT wins over it.
    "python -m server check MODEL IMAGE..." tries a model without a server;
    "python -m server import" and "... export" move results while none runs.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        cli_prog_name="python -m server",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_exit_on_error=False,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104 - the contract
    port: int = Field(9000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    model: str = Field(
        "server.model.efficientnet:EfficientNetLite0",
        description="the model: module:Class or path/to/file.py:Class",
    )
    data_dir: Path = Field(Path("data"), description="folder of results and saved images")
    runner: Runner = Field("process", description="where the model runs: processes or threads")
    workers: int = Field(
        max(1, min(cgroup.cpus(), cgroup.memory() // WORKER_BYTES, 256)),
        ge=1,
        le=256,
        description="workers, each with the model loaded; if not told, as CPUs and memory allow",
    )
    recycle_after: int = Field(
        0, ge=0, description="images after which a worker is replaced by a fresh one; 0: never"
    )
    max_batch_size: int = Field(8, ge=1, le=4096, description="most images in one predict call")
    max_batch_wait: float = Field(
        0, ge=0, le=60, description="seconds to wait for a batch to fill; for models on a GPU"
    )
    max_queue: int = Field(256, ge=1, description="blocking predicts that may wait; then 429")
    max_queue_bytes: ByteSize = Field(
        ByteSize(min(256 * MIB, cgroup.memory() // 8)),
        ge=1,
        description="bytes of the images that wait; then 429",
    )
    max_pending: int = Field(
        100_000, ge=1, description="accepted predictions that may wait; then 429"
    )
    max_uploads_bytes: ByteSize = Field(
        ByteSize(min(512 * MIB, cgroup.memory() // 4)),
        ge=1,
        description="bytes of all bodies being read; then 429",
    )
    max_body_bytes: ByteSize = Field(
        ByteSize(32 * MIB), ge=1, description="largest request body; then 413"
    )
    max_connections: int = Field(
        2000, ge=1, description="open connections; then the longest idle one is closed"
    )
    min_free_disk: ByteSize = Field(
        ByteSize(256 * MIB), ge=0, description="free disk below which nothing is accepted; then 503"
    )
    header_timeout: Seconds = Field(15, description="seconds for a request's head; then 408")
    keepalive_timeout: Seconds = Field(75, description="seconds an idle connection is kept")
    body_timeout: Seconds = Field(60, description="seconds for a whole body; then 408")
    min_body_rate: int = Field(
        1024, ge=0, description="bytes a second that a body must keep up; then 408"
    )
    queue_timeout: Seconds = Field(60, description="seconds to wait for a free worker; then 504")
    predict_timeout: Seconds = Field(60, description="seconds for a predict call; then 504")
    load_timeout: Seconds = Field(600, description="seconds for the model to load")
    write_timeout: Seconds = Field(
        30, description="seconds in which a client must read 64 kB of its answer; then closed"
    )
    shutdown_grace: float = Field(
        30, ge=0, allow_inf_nan=False, description="seconds for what is running when told to stop"
    )
    image_formats: Annotated[tuple[ImageFormat, ...], NoDecode] = Field(
        ("jpeg", "png", "webp"),
        description=f"accepted formats, comma-separated, of {', '.join(get_args(ImageFormat))}",
    )
    max_pixels: int = Field(100_000_000, ge=1, description="most pixels of an image; then 413")
    image_memory: ByteSize = Field(
        ByteSize(0),
        ge=0,
        description="memory in which a worker process decodes images; then 413;"
        " 0: half of all there is, shared by the workers",
    )
    keep_results: Annotated[str, AfterValidator(_check_keep)] = Field(
        "all", description="an age such as 30d or 12h, a count, or both, as in 30d,100000"
    )
    keep_keys: float = Field(
        86_400, ge=0, allow_inf_nan=False, description="seconds an Idempotency-Key is remembered"
    )
    remote: Annotated[str, AfterValidator(check_url)] | None = Field(
        None,
        description="where results are backed up: s3://bucket/prefix or file:///folder;"
        " if not told, the folder backup in the data directory",
    )
    export: Literal["all", "async-only"] = Field(
        "all", description="whose results are backed up as they come"
    )
    export_interval: Seconds = Field(1, description="seconds between two writes to the remote")
    import_on_start: ImportOnStart = Field(
        "if-empty", description="when results are taken from the remote before serving"
    )
    s3_path_style: Literal["auto", "always", "never"] = Field(
        "auto", description="the bucket in the path of URLs; auto: if an endpoint is set"
    )
    s3_storage_class: str | None = Field(None, description="such as STANDARD_IA")
    s3_encryption: Literal["none", "AES256", "aws:kms"] = Field(
        "none", description="what S3 is told to encrypt with"
    )
    s3_kms_key: str | None = Field(None, description="the key for aws:kms")
    s3_ca_bundle: ReadableFile | None = Field(
        None, description="file of the certificates to trust, as AWS_CA_BUNDLE is"
    )
    api_key_file: ReadableFile | None = Field(
        None, description="file of API keys: lines of a name, scopes (read,predict,admin) and a key"
    )
    cors_origin: Annotated[str, AfterValidator(_check_origins)] | None = Field(
        None, description="web sites whose pages may call: https://a.example,... or *"
    )
    tls_cert: ReadableFile | None = Field(
        None, description="PEM file of the certificate, for https"
    )
    tls_key: ReadableFile | None = Field(None, description="PEM file of the certificate's key")
    log_format: LogFormat = Field("text", description="log lines for people or for machines")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - this one and the next
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - are not used
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Who may tell a setting, the first one wins; flags come before all of these."""
        told = {"port": os.environ["PORT"]} if "PORT" in os.environ else {}
        return init_settings, env_settings, InitSettingsSource(settings_cls, told)

    def batch_limits(self) -> BatchLimits:
        """How much may wait for the workers."""
        return BatchLimits(
            batch_size=self.max_batch_size,
            batch_wait=self.max_batch_wait,
            queue=self.max_queue,
            queue_bytes=self.max_queue_bytes,
            queue_timeout=self.queue_timeout,
        )

    def remote_url(self) -> str:
        """Where results are backed up."""
        return self.remote or (self.data_dir.resolve() / "backup").as_uri()

    def s3_options(self) -> S3Options:
        """How S3 is spoken to."""
        style, encryption = self.s3_path_style, self.s3_encryption
        return S3Options(
            path_style=None if style == "auto" else style == "always",
            storage_class=self.s3_storage_class,
            encryption=None if encryption == "none" else encryption,
            kms_key=self.s3_kms_key,
            ca_bundle=self.s3_ca_bundle,
        )

    def origins(self) -> frozenset[str]:
        """The sites whose pages may call; `*` stands for all."""
        return frozenset(self.cors_origin.split(",") if self.cors_origin else ())

    def image_limits(self) -> ImageLimits:
        """What images may be."""
        formats = tuple(name.upper() for name in self.image_formats)
        room = self.image_memory or cgroup.memory() // (2 * self.workers)
        is_own = self.runner == "process"  # a limit for threads would be the whole server's
        return ImageLimits(formats, self.max_pixels, memory=room if is_own else None)

    @field_validator("image_formats", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name.strip().lower().replace("jpg", "jpeg") for name in value.split(","))


def load(arguments: list[str]) -> Settings:
    """The settings from flags, then the environment, then the defaults.

    Raises:
        BadSettingError: A value is not accepted.
        SystemExit: After `--help`.
    """
    try:
        source: CliSettingsSource[Any] = CliSettingsSource(  # Any: argparse's parser
            Settings, cli_parse_args=arguments, formatter_class=_Help
        )
        return Settings(_cli_settings_source=source)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise BadSettingError(
            f"{_origin(name, arguments)}: {first['msg'].lower().removeprefix('value error, ')}"
        ) from None
    except SettingsError as error:
        raise BadSettingError(str(error).removeprefix("error parsing CLI: ")) from None


def unknown_variables() -> list[str]:
    """Environment variables that look like settings but are none: typing errors, mostly."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def _origin(name: str, arguments: list[str]) -> str:
    """Where a wrong value came from, as its user wrote it."""
    flag = f"--{name.replace('_', '-')}"
    given = any(argument.split("=")[0] == flag for argument in arguments)
    variable = f"{PREFIX}{name}".upper()
    if name == "port" and variable not in os.environ:
        variable = "PORT"
    return flag if given else f"{flag} (from {variable}={os.environ.get(variable, '')!r})"
