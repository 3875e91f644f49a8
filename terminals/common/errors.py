"""The one way in which a request is refused: a reason word for programs and a sentence for people."""


class Refusal(Exception):
    """A request that is refused; nothing was changed. `detail` says why and what to do, `reason` is one of a few words.

    Whoever speaks to people or programs (page, admin, API, enrolment, dead letters) translates this class once, so no call
    site translates by hand.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
