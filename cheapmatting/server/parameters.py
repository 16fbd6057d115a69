"""The fields of an upload, checked one by one."""

from __future__ import annotations

from typing import Literal, TypeVar

from PIL import ImageColor
from starlette.datastructures import FormData, UploadFile

from atldas.common.errors import UserError

from ..decoding import FileBytes
from ..masks.grabcut import whole_numbers
from ..masks.width import DEFAULT_WIDTH, Width, parse_width

T = TypeVar("T", bound=str)


class Fields:
    """A form of files and texts; its methods name the field in their errors, which are UserErrors.

    Args:
        files, texts: by the fields' names.
    """

    def __init__(self, files: dict[str, FileBytes], texts: dict[str, list[str]]) -> None:
        self.files, self.texts = files, texts

    @classmethod
    async def of(
        cls, form: FormData, files: tuple[str, ...], texts: tuple[str, ...], repeated: tuple[str, ...] = ()
    ) -> Fields:
        """Read a form.

        Args:
            files, texts, repeated: the names that are allowed: of files, of texts, of texts that may be given more than
                once. A name in the first two may be either.

        Raises:
            UserError: a field of another name or kind, or one that stands twice.
        """
        found, said = dict[str, FileBytes](), dict[str, list[str]]()
        for name, value in form.multi_items():
            if name not in (*files, *texts, *repeated):
                allowed = ", ".join(dict.fromkeys((*files, *texts, *repeated)))
                raise UserError(f"{name[:40]}: expected a field of {allowed}")
            if (name in found or name in said) and name not in repeated:
                raise UserError(f"{name}: expected it once, got it again")
            if isinstance(value, UploadFile):
                if name not in files:
                    raise UserError(f"{name}: expected a text, got a file")
                found[name] = FileBytes(name, await value.read())
            elif name in texts or name in repeated:
                said.setdefault(name, []).append(value)
            else:
                raise UserError(f"{name}: expected an uploaded file, got a text; this server fetches nothing")
        return cls(found, said)

    def file(self, name: str) -> FileBytes:
        """A file that must be there."""
        if name not in self.files:
            raise UserError(f"{name}: expected an uploaded file, got none")
        return self.files[name]

    def text(self, name: str) -> str | None:
        return self.texts[name][0] if name in self.texts else None

    def choice(self, name: str, allowed: tuple[T, ...], default: T) -> T:
        """One of a few words."""
        value = self.text(name)
        if value is None:
            return default
        for word in allowed:
            if value == word:
                return word
        raise UserError(f"{name}: expected {', '.join(allowed[:-1])} or {allowed[-1]}, got {value[:40]}")

    def width(self) -> Width:
        """The width of the unknown band."""
        value = self.text("width")
        return DEFAULT_WIDTH if value is None else parse_width(value)

    def colour(self, name: str) -> tuple[int, int, int]:
        """A colour of CSS as levels of RGB."""
        value = self.text(name) or ""
        try:
            red, green, blue = ImageColor.getrgb(value[:40])[:3]
        except ValueError as error:
            raise UserError(f"{name}: expected a colour (white, #30a040) or an image, got {value[:40]}") from error
        return red, green, blue

    def numbers(self, name: str, count: Literal[2, 4]) -> list[list[int]]:
        """Points X,Y or rectangles X,Y,WIDTH,HEIGHT."""
        return [whole_numbers(text, count, name) for text in self.texts.get(name, [])]
