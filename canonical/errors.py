"""The error vocabulary: an error's class says what the program does, its sentence says what the reader does."""


class IronbridgeError(Exception):
    """
    Something went wrong, said so that a person can act on it.

    `where` names the part (an adapter, a flow, a file), `what` says what broke, `fix` what to do about it.
    None of them may hold a value of somebody's record: a field's name, its shape and the rule it broke are enough.
    """

    def __init__(self, where: str, what: str, *, fix: str = "") -> None:
        self.where = where
        self.what = what
        self.fix = fix
        super().__init__(f"{where}: {what}" + (f". To do: {fix}" if fix else ""))


class UnavailableError(IronbridgeError):
    """The other side cannot answer now: try again later."""


class RefusedError(IronbridgeError):
    """The other side will never take this as it is: park it."""


class MisconfiguredError(IronbridgeError):
    """Nothing will work until a person changes something: stop and say so."""


class FencedError(IronbridgeError):
    """A newer copy of this worker has taken over: stop at once and touch nothing."""


class BadRecordError(IronbridgeError):
    """
    One record cannot be read as the canonical entity it should be: quarantine it, go on with the next.

    `field` is the canonical or legacy field, `rule` the rule it broke, `shape` what the value looks like with every
    letter and digit blotted out (see `shape_of`).
    """

    def __init__(self, where: str, *, field: str, rule: str, shape: str, fix: str = "") -> None:
        self.field = field
        self.rule = rule
        self.shape = shape
        super().__init__(where, f"{field}: {rule} (its shape: {shape})", fix=fix)


class DoubtfulError(BadRecordError):
    """
    One file is in doubt as a whole: it is refused, unless a person who has looked accepts it as it is.

    `doubt` is the word for what is in doubt, by which it is accepted.
    """

    def __init__(self, where: str, doubt: str, *, field: str, rule: str, shape: str, fix: str = "") -> None:
        self.doubt = doubt
        super().__init__(where, field=field, rule=rule, shape=shape, fix=fix)


def shape_of(value: object, limit: int = 24) -> str:
    """
    Show the form of a value and not its content: letters become `a`, digits `9`, the rest of ASCII stays.

    >>> shape_of("AB12 3CD"), shape_of(None), shape_of(12.5)
    ('text aa99 9aa', 'nothing', 'float 99.9')
    """
    if value is None:
        return "nothing"
    kind = "text" if isinstance(value, str) else type(value).__name__
    blotted = "".join(
        "9" if c.isdigit() else "a" if c.isalpha() else c if c.isascii() and c.isprintable() else "?"
        for c in str(value)[:limit]
    )
    return f"{kind} {blotted}{'…' if len(str(value)) > limit else ''}"
