"""`nlptasks serve` in replicas of Ray Serve: as many as the requests need, on any number of machines.

    pip install 'nlptasks[serve,ray]' 'ray[serve]'
    cd examples && RAY_USAGE_STATS_ENABLED=0 serve run ray_serve:app

Settings are those of `nlptasks serve`, by `NLPTASKS_SERVE_*` and `NLPTASKS_API_KEY`. Every replica answers for every
task and adapter: many adapters stand on one base in memory. The header `serve_multiplexed_model_id: TASK@ADAPTER` is a
hint for Ray Serve: such requests go to replicas that have the adapter already, and share batches there.
"""

from __future__ import annotations

from typing import Any

from ray import serve

from nlptasks import Engine
from nlptasks.serve import build_app, read_settings


@serve.deployment(
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=64,
    autoscaling_config={"min_replicas": 1, "max_replicas": 8, "target_ongoing_requests": 16},
)
@serve.ingress()
class Replica:
    @serve.multiplexed(max_num_models_per_replica=32)
    async def remember(self, name: str) -> str:
        return name

    def __serve_build_asgi_app__(self) -> Any:
        answer = build_app(Engine(), read_settings({}))

        async def routed(scope: Any, receive: Any, send: Any) -> None:
            await answer(scope, receive, send)
            if name := serve.get_multiplexed_model_id():
                await self.remember(name)

        return routed


app = Replica.bind()
