"""The command line. A command's module is imported when the command is called, so that help is fast."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

import click

from nlptasks import CancelledError, NlptasksError, __version__

_COMMANDS = {
    "run": ("run", "run_command", "Run a task on texts, files or standard input."),
    "batch": ("batch", "batch_group", "Run a task on files of any size; a batch that was stopped goes on."),
    "run-batch": ("run_batch", "run_batch_command", "Answer a file of requests in the form of OpenAI's Batch API."),
    "serve": ("serve", "serve_command", "Serve the tasks over HTTP."),
    "chat": ("chat", "chat_command", "Chat with a language model."),
    "demo": ("demo", "demo_command", "Run every task on its example sentences."),
    "train": ("train", "train_command", "Train an adapter for a task."),
    "eval": ("eval", "eval_command", "Measure a task on labelled data."),
    "data": ("data", "data_group", "Check training data."),
    "tasks": ("plugins", "tasks_command", "List the tasks, or the options of one."),
    "models": ("models", "models_group", "List, download and remove base models."),
    "adapters": ("adapters", "adapters_group", "List, show, remove, export, import and merge adapters."),
    "plugins": ("plugins", "plugins_group", "List the plugins, and why one is disabled; decide who has a name."),
    "doctor": ("doctor", "doctor_command", "Show what a bug report needs: versions, device, plugins, ..."),
}


class Commands(click.Group):
    """The built-in commands, then those of plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._load_plugins()
        return [*_COMMANDS, *sorted(name for name in self.commands if name not in _COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module, attribute, _ = _COMMANDS[cmd_name]
            command: click.Command = getattr(import_module(f"nlptasks.cli.{module}"), attribute)
            return command
        self._load_plugins()
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(error.message + hint, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing their modules, and the plugins without importing them."""
        from nlptasks import plugin_names

        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])
        with formatter.section("Plugins"):
            formatter.write_text(", ".join(plugin_names()) or "none")
        formatter.write_text("They may add commands: `nlptasks plugins` lists them.")

    def _load_plugins(self) -> None:
        from nlptasks import default_plugins

        default_plugins().add_commands(self, reserved=_COMMANDS)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="nlptasks")
@click.option("-v", "--verbose", is_flag=True, help="Log to stderr which models and adapters are loaded, from where.")
def cli(verbose: bool) -> None:
    """Run, train and extend NLP tasks on small Transformers."""
    if verbose:
        import logging

        logger, lines = logging.getLogger("nlptasks"), logging.StreamHandler()
        lines.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
        logger.addHandler(lines)
        logger.setLevel(logging.INFO)
        click.get_current_context().call_on_close(lambda: logger.removeHandler(lines))


def main(arguments: list[str] | None = None) -> None:
    """The entry point. Exit codes: 0 success, 1 an error with its message, 2 wrong usage, 3 rows without an answer."""
    # The tokenizers library warns on every fork otherwise; the model's one thread needs no pool of its own.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    encode_all(sys.stdout)
    sys.exit(_run(arguments))


def encode_all(stream: object) -> None:
    """Let a stream take every character: a file or a pipe as UTF-8, which `run -f` reads, a terminal by escapes."""
    if isinstance(stream, io.TextIOWrapper):
        if stream.isatty():
            stream.reconfigure(errors="backslashreplace")
        else:
            stream.reconfigure(encoding="utf-8")


def _run(arguments: list[str] | None) -> int:
    try:
        code = cli.main(args=arguments, prog_name="nlptasks", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt, CancelledError):
        click.echo("Cancelled.", err=True)
        return 1
    except NlptasksError as error:
        from nlptasks.surfaces import message

        click.echo(f"Error: {message(error)}", err=True)
        return 1
    except BrokenPipeError:
        # The reader of our output left (`| head`); pointing stdout elsewhere keeps Python quiet at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        click.echo(f"Error: {_unusable(error)}", err=True)
        return 1
    finally:
        _report_failed_plugins()
    return code if isinstance(code, int) else 0


def _unusable(error: OSError) -> str:
    """A file or folder that cannot be read or written, as a sentence."""
    from nlptasks import Settings

    data = str(Settings.from_env().data)
    hint = " Make it writable, or name another folder with NLPTASKS_DATA." if data in str(error.filename) else ""
    return f"{error.filename}: {error.strerror}.{hint}" if error.filename else f"{error}."


def _report_failed_plugins() -> None:
    """Print one line on stderr if plugins are disabled, after every command that loaded them."""
    from nlptasks import plugin_notice

    if notice := plugin_notice():
        click.echo(notice, err=True)
