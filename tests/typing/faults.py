"""What a type checker refuses. Each ignore is needed: `warn_unused_ignores` and pyright's like of it see to that."""

from typing import assert_type

import nlptasks
from nlptasks import Classification, Engine
from nlptasks_plugins import Generation, Qa, Sentiment

print(nlptasks.run(Sentiment, "Lovely.").lable)  # type: ignore[attr-defined]
print(nlptasks.run(Sentiment, ["Lovely."]).label)  # type: ignore[attr-defined]
print(nlptasks.stream(Generation, "Once").result().txt)  # type: ignore[attr-defined]
nlptasks.run(Sentiment, 7)  # type: ignore[call-overload]
nlptasks.run(Sentiment, "Lovely.", progress="yes")  # type: ignore[call-overload]
nlptasks.run(Sentiment, "Lovely.", cancel=True)  # type: ignore[call-overload]
nlptasks.run(dict, "Lovely.")  # type: ignore[arg-type]
nlptasks.stream(dict, "Once")  # type: ignore[arg-type]
nlptasks.run(task=Sentiment, inputs="Lovely.")  # type: ignore[call-overload]
print(nlptasks.rum)  # type: ignore[attr-defined]
answer: Classification = nlptasks.run(Qa, question="Who?", context="Ada.")  # type: ignore[assignment]


async def in_async_code(engine: Engine) -> None:
    print((await engine.arun(Sentiment, "Lovely.")).lable)  # type: ignore[attr-defined]
    await engine.arun(Sentiment, 7)  # type: ignore[call-overload]
    assert_type(await engine.arun(Sentiment, "Lovely."), str)  # type: ignore[assert-type]
