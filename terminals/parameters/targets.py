"""What a filter may ask of terminals' parameters."""

from terminals.estate.targets.fields import NUMBER, TEXT, WORD, Field, Kind
from terminals.parameters.rules import ParameterState
from terminals.parameters.services import SEE

FIELDS = (
    Field(
        "parameters",
        TEXT,
        "template of the parameters that it applied",
        at="parameters__applied__template_version__template__name",
        needs=SEE,
    ),
    Field(
        "parameters_version",
        Kind("number", ("=", "!=", "in"), NUMBER.read, "12"),
        "number of the document that it applied",
        at="parameters__applied",
        needs=SEE,
    ),
    Field(
        "parameters_state",
        WORD,
        "whether what it shall have was applied",
        at="parameters__state",
        choices=tuple(ParameterState),
        needs=SEE,
    ),
)
