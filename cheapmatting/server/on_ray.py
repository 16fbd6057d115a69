"""The same app on Ray Serve: replicas, on one machine or many, each a process with a network and a queue of its own.

    serve run cheapmatting.server.on_ray:application replicas=4 max_pixels=8000000

Who may ask is for the proxy in front to decide: all hosts are served, and no other site's pages.
"""

# Ray looks at the class in the annotation of `application`: annotations must not be put off.
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from starlette.applications import Starlette

from ..inference.matte import Matter
from ..model.lookup import DEFAULT_WEIGHTS
from .app import make_app
from .limits import Limits

DEFAULTS = Limits()


class Options(BaseModel):
    """What follows `serve run cheapmatting.server.on_ray:application`, as KEY=VALUE.

    Attributes:
        replicas: how many.
        cpus, gpus: what Ray keeps free for each; PyTorch takes `cpus` threads.
        weights, device, engine: as for `cheapmatting serve`.
        max_bytes, max_pixels, queue, timeout, batch: see `Limits`; the queue is each replica's.
    """

    model_config = ConfigDict(extra="forbid")

    replicas: int = Field(2, ge=1)
    cpus: float = Field(1, gt=0)
    gpus: float = Field(0, ge=0)
    weights: str = DEFAULT_WEIGHTS
    device: str = "auto"
    engine: str = "torch"
    max_bytes: int = Field(DEFAULTS.max_bytes, ge=1)
    max_pixels: int = Field(DEFAULTS.max_pixels, ge=1)
    queue: int = Field(DEFAULTS.queue, ge=1)
    timeout: float = Field(DEFAULTS.timeout, gt=0)
    batch: int = Field(DEFAULTS.batch, ge=1)


def application(options: Options) -> serve.Application:
    """What `serve run` and `serve.run` deploy."""
    limits = Limits(options.max_bytes, options.max_pixels, options.queue, options.timeout, options.batch)

    def app() -> Starlette:  # called in each replica
        return make_app(Matter(options.weights, options.device, engine=options.engine), limits)

    replica = serve.deployment(
        serve.ingress(app)(),
        name="cheapmatting",
        num_replicas=options.replicas,
        max_ongoing_requests=2 * options.queue,  # so that a full queue is answered by the app, with 503
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
        graceful_shutdown_timeout_s=options.timeout,
    )
    return replica.bind()
