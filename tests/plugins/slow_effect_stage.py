"""The same stage with a time-out that makes it a slow one, whose tasks workers do not buffer."""

import effect_stage

from contracts import stages

SPEC = stages.StageSpec(
    name="slow_effect", input=effect_stage.Given, output=effect_stage.Made, timeout=300, typical_seconds=5
)
run = effect_stage.run
