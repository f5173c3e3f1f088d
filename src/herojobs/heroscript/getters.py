"""Reading params as values: the getters (HeroScript 9).

A getter of a missing key, and of a text that doesn't fit, raises a HeroScriptError with the place in the script.
`get_x_default(key, default)` gives the default only if the key is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from herojobs.heroscript import values
from herojobs.heroscript.errors import HeroScriptError, shortened
from herojobs.heroscript.names import did_you_mean, name_fix
from herojobs.heroscript.values import BadValue, Money, Size

if TYPE_CHECKING:
    from herojobs.heroscript.params import Param, Params

T = TypeVar("T")


class Get(Generic[T]):
    """A getter of one kind: `params.get_u8(key)`."""

    def __init__(self, convert: Callable[[Param], T]) -> None:
        self.convert = convert

    def __get__(self, params: Getters, owner: type) -> Callable[[str], T]:
        return lambda key: params.read(key, self.convert)


class GetDefault(Generic[T]):
    """A getter of one kind with a default for a missing key: `params.get_u8_default(key, 7)`."""

    def __init__(self, convert: Callable[[Param], T]) -> None:
        self.convert = convert

    def __get__(self, params: Getters, owner: type) -> Callable[[str, T], T]:
        return lambda key, default: params.read(key, self.convert) if params.exists(key) else default


def _text(convert: Callable[[str], T]) -> Callable[[Param], T]:
    return lambda param: convert(param.value)


def _int(kind: str) -> Callable[[Param], int]:
    return lambda param: values.to_int(param.value, kind)


def _items(param: Param) -> list[str]:
    return values.to_list(param.value) if param.items is None else list(param.items)


def _each(convert: Callable[[str], T]) -> Callable[[Param], list[T]]:
    def convert_all(param: Param) -> list[T]:
        try:
            return [convert(item) for item in _items(param)]
        except BadValue as error:
            raise BadValue(f"a list whose items are each {error.accepted}") from None

    return convert_all


def _each_int(kind: str) -> Callable[[Param], list[int]]:
    return _each(lambda item: values.to_int(item, kind))


def _path(text: str) -> Path:
    path = values.to_path(text)
    try:
        if path.exists():
            return path
    except (OSError, ValueError):
        # Too long for a name, or a zero byte in it.
        pass
    raise BadValue("a path that exists")


def _path_create(text: str) -> Path:
    path = values.to_path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if not path.is_file():
            raise BadValue("a folder that can be made") from None
    except OSError as error:
        raise BadValue(f"a folder that can be made ({error.strerror})") from None
    except ValueError:
        raise BadValue("a folder that can be made") from None
    return path


def _json(param: Param) -> Any:
    try:
        return msgspec.json.decode(param.value)
    except (msgspec.DecodeError, RecursionError) as error:
        # A plain list in brackets keeps only those quotes that it needs.
        if param.items is not None and param.value.startswith("["):
            return list(param.items)
        raise BadValue(f"JSON ({error})") from None


def _nested(text: str) -> Params:
    from herojobs.heroscript.params import Params

    try:
        return Params.parse(text)
    except HeroScriptError as error:
        raise BadValue(f"params, like 'a:1 b:2' ({error.message})") from None


def _map(text: str) -> dict[str, str]:
    return dict(_nested(text).items())


class Getters:
    """The getters of Params."""

    if TYPE_CHECKING:
        table: dict[str, Param]
        args: list[str]
        arg_positions: list[int]

        def exists(self, key: str) -> bool:
            """Whether there is such a key."""

        def error(self, code: str, message: str, position: int = -1) -> HeroScriptError:
            """Return an error at a position in the source."""

    def read(self, key: str, convert: Callable[[Param], T]) -> T:
        """Return a value read by `convert`, which raises BadValue for a text that doesn't fit.

        Raises:
            HeroScriptError: the key is missing (`missing_param`) or the text doesn't fit (`bad_value`).
        """
        fixed = name_fix(key)
        param = self.table.get(fixed)
        if param is None:
            raise self.error("missing_param", f'"{shortened(fixed)}" is missing' + did_you_mean(fixed, self.table))
        try:
            return convert(param)
        except BadValue as error:
            message = f'"{shortened(fixed)}" must be {error.accepted}, not "{shortened(param.value)}"'
            raise self.error("bad_value", message, param.value_position) from None

    get = Get(_text(str.strip))
    get_default = GetDefault(_text(str.strip))

    get_int, get_int_default = Get(_int("int")), GetDefault(_int("int"))
    get_i8, get_i8_default = Get(_int("i8")), GetDefault(_int("i8"))
    get_i16, get_i16_default = Get(_int("i16")), GetDefault(_int("i16"))
    get_i32, get_i32_default = Get(_int("i32")), GetDefault(_int("i32"))
    get_i64, get_i64_default = Get(_int("i64")), GetDefault(_int("i64"))
    get_u8, get_u8_default = Get(_int("u8")), GetDefault(_int("u8"))
    get_u16, get_u16_default = Get(_int("u16")), GetDefault(_int("u16"))
    get_u32, get_u32_default = Get(_int("u32")), GetDefault(_int("u32"))
    get_u64, get_u64_default = Get(_int("u64")), GetDefault(_int("u64"))
    get_float = Get(_text(values.to_float))
    get_float_default = GetDefault(_text(values.to_float))
    get_percentage = Get(_text(values.to_percentage))
    get_bool = Get(_text(values.to_bool))
    get_bool_default = GetDefault(_text(values.to_bool))

    get_list, get_list_default = Get(_items), GetDefault(_items)
    get_list_namefix, get_list_namefix_default = Get(_each(name_fix)), GetDefault(_each(name_fix))
    get_list_int, get_list_int_default = Get(_each_int("int")), GetDefault(_each_int("int"))
    get_list_i8, get_list_i8_default = Get(_each_int("i8")), GetDefault(_each_int("i8"))
    get_list_i16, get_list_i16_default = Get(_each_int("i16")), GetDefault(_each_int("i16"))
    get_list_i32, get_list_i32_default = Get(_each_int("i32")), GetDefault(_each_int("i32"))
    get_list_i64, get_list_i64_default = Get(_each_int("i64")), GetDefault(_each_int("i64"))
    get_list_u8, get_list_u8_default = Get(_each_int("u8")), GetDefault(_each_int("u8"))
    get_list_u16, get_list_u16_default = Get(_each_int("u16")), GetDefault(_each_int("u16"))
    get_list_u32, get_list_u32_default = Get(_each_int("u32")), GetDefault(_each_int("u32"))
    get_list_u64, get_list_u64_default = Get(_each_int("u64")), GetDefault(_each_int("u64"))
    get_list_f32, get_list_f32_default = Get(_each(values.to_float)), GetDefault(_each(values.to_float))
    get_list_f64, get_list_f64_default = Get(_each(values.to_float)), GetDefault(_each(values.to_float))
    get_list_bool, get_list_bool_default = Get(_each(values.to_bool)), GetDefault(_each(values.to_bool))

    get_map, get_map_default = Get(_text(_map)), GetDefault(_text(_map))
    get_params, get_params_default = Get(_text(_nested)), GetDefault(_text(_nested))
    get_json, get_json_default = Get(_json), GetDefault(_json)

    get_storagecapacity_in_bytes: Get[Size] = Get(_text(values.to_bytes))
    get_storagecapacity_in_bytes_default: GetDefault[int] = GetDefault(_text(values.to_bytes))
    get_storagecapacity_in_gigabytes = Get(_text(values.to_gigabytes))
    get_storagecapacity_in_gigabytes_default = GetDefault(_text(values.to_gigabytes))
    get_time: Get[datetime] = Get(_text(values.to_time))
    get_duration, get_duration_default = Get(_text(values.to_duration)), GetDefault(_text(values.to_duration))
    get_timestamp, get_timestamp_default = Get(_text(values.to_timestamp)), GetDefault(_text(values.to_timestamp))
    get_currencyamount: Get[Money] = Get(_text(values.to_money))
    get_path, get_path_default = Get(_text(_path)), GetDefault(_text(_path))
    get_path_create = Get(_text(_path_create))
    get_email, get_emails = Get(_text(values.to_email)), Get(_each(values.to_email))
    get_telnr, get_telnrs = Get(_text(values.to_telnr)), Get(_each(values.to_telnr))

    def get_percentage_default(self, key: str, default: str | float) -> float:
        """Return a percentage as its hundredth; the default is in percent too."""
        return self.get_percentage(key) if self.exists(key) else values.to_percentage(str(default))

    def get_time_default(self, key: str, default: str | datetime) -> datetime:
        """Return an instant; the default may be a text like `+1h`."""
        if self.exists(key):
            return self.get_time(key)
        return values.to_time(default) if isinstance(default, str) else default

    def get_currencyamount_default(self, key: str, default: str | Money) -> Money:
        """Return an amount of money; the default may be a text like `20EUR`."""
        if self.exists(key):
            return self.get_currencyamount(key)
        return values.to_money(default) if isinstance(default, str) else default

    def get_currencyfloat(self, key: str) -> float:
        """Return the amount of an amount of money."""
        return float(self.get_currencyamount(key).amount)

    def get_currencyfloat_default(self, key: str, default: str | float) -> float:
        """Return the amount of an amount of money; the default may be a text like `20EUR`."""
        if self.exists(key):
            return self.get_currencyfloat(key)
        return float(values.to_money(default).amount) if isinstance(default, str) else default

    def get_default_true(self, key: str) -> bool:
        """Return whether the value is missing, empty or a word for true; anything else is false."""
        param = self.table.get(name_fix(key))
        return param is None or values.is_true_word(param.value)

    def get_default_false(self, key: str) -> bool:
        """Return false if the value is missing, empty or a word for false; anything else is true."""
        param = self.table.get(name_fix(key))
        return param is not None and not values.is_false_word(param.value)

    def get_from_hashmap(self, key: str, default: str, choices: Mapping[str, str]) -> str:
        """Return what the value stands for.

        Args:
            key: the key; if it is missing, `default` is looked up instead.
            default: looked up too if the value isn't among the choices.
            choices: keys list alternatives with commas between them, like `'red,dark red'`.

        Raises:
            HeroScriptError: neither is among the choices.
        """
        by_word = {word.strip(): value for words, value in choices.items() for word in words.split(",")}
        param = self.table.get(name_fix(key))
        for word in (default,) if param is None else (param.value.strip(), default):
            if word in by_word:
                return by_word[word]
        position = -1 if param is None else param.value_position
        raise self.error("bad_value", f'"{name_fix(key)}" must be one of {", ".join(by_word)}', position)

    # Positional values

    def get_arg(self, nr: int) -> str:
        """Return the positional value at an index, from 0."""
        if not 0 <= nr < len(self.args):
            raise self.error("missing_param", f"there is no positional value {nr}; there are {len(self.args)}")
        return self.args[nr].strip()

    def get_arg_default(self, nr: int, default: str) -> str:
        """Return the positional value at an index, or the default if there are fewer."""
        return self.get_arg(nr) if 0 <= nr < len(self.args) else default

    def get_arg_int(self, nr: int) -> int:
        """Return the positional value at an index as a whole number."""
        text = self.get_arg(nr)
        try:
            return values.to_int(text)
        except BadValue as error:
            position = self.arg_positions[nr] if nr < len(self.arg_positions) else -1
            message = f'positional value {nr} must be {error.accepted}, not "{shortened(text)}"'
            raise self.error("bad_value", message, position) from None

    def get_arg_int_default(self, nr: int, default: int) -> int:
        """Return the positional value at an index as a whole number, or the default if there are fewer."""
        return self.get_arg_int(nr) if 0 <= nr < len(self.args) else default

    def get_arg_check(self, nr: int, count: int) -> str:
        """Return the positional value at an index; there must be just `count` of them."""
        self.check_arg_len(count)
        return self.get_arg(nr)

    def check_arg_len(self, count: int) -> None:
        """Raise an error unless there are just `count` positional values."""
        if len(self.args) != count:
            code = "missing_param" if len(self.args) < count else "unexpected_arg"
            raise self.error(code, f"there must be {count} positional values, not {len(self.args)}")
