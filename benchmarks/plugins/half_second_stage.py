"""The same stage for steps of half a second, which says so: a worker then buffers little beside what its slots do."""

import no_op_stage

from contracts import stages

SPEC = stages.StageSpec(
    name="half_second", input=no_op_stage.Given, output=no_op_stage.Done, timeout=30, typical_seconds=0.5
)
run = no_op_stage.run
