"""What README.md and docs/*.md show: their fenced blocks, and the commands in them."""
import pathlib
import re
import typing

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# A line that begins like this is a command, wherever it stands.
LIKE_A_COMMAND = re.compile(
    r"(\$ \S|(\w+=\S+ )*(build/bin/|scripts/)?(squant-\w+|mpirun|sbatch|srun|make|cmake|ctest|git|apt|apt-get|pip|sqlite3"
    r"|apptainer|docker|python3|source|export|man|compute-sanitizer|[\w-]+\.sh)( [\w./$~-]|$))")


class Block(typing.NamedTuple):
    page: str
    line: int  # of its first line, from 1
    language: str
    lines: list


class Command(typing.NamedTuple):
    page: str
    line: int
    text: str  # as bash gets it, without a comment behind it
    shown: list  # the lines of output that the page shows; none: it shows nothing

    @property
    def place(self):
        return f"{self.page}:{self.line}"


def blocks_of(page, text):
    found, opened = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("```"):
            if opened:
                opened.lines.append(line)
        elif opened:
            found.append(opened)
            opened = None
        else:
            opened = Block(page, number + 1, line[3:].strip(), [])
    if opened:
        raise ValueError(f"{page}:{opened.line}: a block that does not end")
    return found


def without_comment(line):
    """Off with ` # ...`, but not inside quotes."""
    quote = ""
    for at, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (at == 0 or line[at - 1] == " "):
            return line[:at].rstrip()
    return line.rstrip()


def commands_of_shell(block):
    """A ```sh block: a command a line; `\\` goes on with the next one."""
    commands, begun = [], None
    for number, line in enumerate(block.lines, block.line):
        text = without_comment(line)
        if begun:
            text, number = begun[1] + text.lstrip(), begun[0]
        begun = (number, text[:-1]) if text.endswith("\\") else None
        if text and not begun:
            commands.append(Command(block.page, number, text, []))
    return commands


def commands_of_console(block):
    """A ```console block: `$ COMMAND`, and below it what it prints."""
    commands = []
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("$ "):
            commands.append(Command(block.page, number, without_comment(line[2:]), []))
        elif commands:
            commands[-1].shown.append(line)
        else:
            raise ValueError(f"{block.page}:{number}: output without a command: begin the block with `$ COMMAND`")
    return commands


def commands_of(block):
    if block.language in ("sh", "console"):
        return (commands_of_shell if block.language == "sh" else commands_of_console)(block)
    if block.language:
        return []
    for number, line in enumerate(block.lines, block.line):
        if LIKE_A_COMMAND.match(line):
            raise ValueError(f"{block.page}:{number}: a command in a block without a language; begin it with ```sh, with "
                             f"```console if it shows output, or with ```text if nobody is meant to type it: {line}")
    return []


def all_blocks():
    return [block for page in PAGES for block in blocks_of(str(page.relative_to(ROOT)), page.read_text())]
