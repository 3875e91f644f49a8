"""What a filter may ask of terminals' parameters."""

from terminals.estate.targets.fields import TEXT, WORD, Field
from terminals.parameters.rules import ParameterState

SEE = "parameters.view_terminalparameters"
FIELDS = (
    Field("parameters", TEXT, "name of the document that was applied", at="parameters__applied__name", needs=SEE),
    Field(
        "parameters_state",
        WORD,
        "whether the wanted document was applied",
        at="parameters__state",
        choices=tuple(ParameterState),
        needs=SEE,
    ),
)
