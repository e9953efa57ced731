"""What every generator must do: learn from images alone, and draw images of their shape, differentiably.

`CHECKS[name](make)` raises AssertionError where the generator fails. `make` is called without arguments and returns an
untrained generator (`asal.models.generators.TrainableGenerator`) whose options let it train in a fraction of a second:
see `asal.testing.training`, whose checks are among these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

from asal.errors import UserError
from asal.models.generators import TrainableGenerator, TrainedGenerator
from asal.models.tensors import to_batch
from asal.runtime.rng import stream, torch_stream
from asal.testing import training
from asal.testing.training import toy_pool, train, workshop

Make: TypeAlias = Callable[[], TrainableGenerator]
Shape: TypeAlias = tuple[int, int, int]

REFUSABLE = ((12, 10, 1), (5, 5, 1), (48, 48, 1))  # (h, w, c) that a generator may refuse


@contextmanager
def trained(make: Make, shape: Shape = (8, 8, 1)) -> Iterator[TrainedGenerator]:
    """Train it on toy images of this shape, and open it."""
    with workshop() as folder:
        train(make(), folder, pool=toy_pool(shape))
        yield make().load(folder, shape)


def latents(generator: TrainedGenerator, n: int) -> Tensor:
    """Return latents (n, z) of N(0, I), the same each time."""
    return torch.randn(n, generator.latent_dim, generator=torch_stream(stream(0, "toy latents")))


def draws_the_pools_shape(make: Make) -> None:
    """Latents (n, z) become finite floats (n, c, h, w) in [−1, 1], gray or RGB, one image or many."""
    for shape in ((8, 8, 1), (8, 8, 3)):
        with trained(make, shape) as generator:
            for n in (1, 5):
                _drawn(generator, n, shape)


def _drawn(generator: TrainedGenerator, n: int, shape: Shape) -> None:
    height, width, channels = shape
    images = generator.decode(latents(generator, n)).detach()
    assert images.shape == (n, channels, height, width), f"{n} latents became {tuple(images.shape)} for images {shape}"
    assert images.is_floating_point() and bool(images.isfinite().all()), "a drawn pixel is no finite float"
    assert float(images.abs().max()) <= 1, f"pixels lie in [−1, 1], and one is {float(images.abs().max()):.3g} from 0"


def draws_different_images(make: Make) -> None:
    """Different latents are different images."""
    with trained(make) as generator:
        images = generator.decode(latents(generator, 8)).detach()
    assert float(images.std(0).max()) > 1e-4, "eight latents became the same image"


def has_a_usable_gradient(make: Make) -> None:
    """The images' gradient with respect to the latents is finite and not zero."""
    with trained(make) as generator:
        start = latents(generator, 4).requires_grad_()
        images = generator.decode(start)
        assert images.requires_grad, "the images do not depend on the latents: does decode use no_grad or detach?"
        (slope,) = torch.autograd.grad(images.square().sum(), start)
    assert bool(slope.isfinite().all()), "the gradient is not finite"
    assert bool((slope.abs().amax(1) > 0).all()), "the gradient of a latent is zero"


def draws_each_image_alone(make: Make) -> None:
    """An image does not depend on the other latents of the batch."""
    with trained(make) as generator:
        start = latents(generator, 6)
        together = generator.decode(start).detach()
        alone = torch.cat([generator.decode(one[None]).detach() for one in start])
    apart = float((together - alone).abs().max())
    assert apart < 1e-4, f"drawn alone, a pixel differs by {apart:.3g}: is batch norm in training mode?"


def is_the_same_when_reloaded(make: Make) -> None:
    """Opened again, by another process, it draws the same images."""
    with workshop() as folder:
        train(make(), folder)
        one, two = (make().load(folder, toy_pool().shape) for _ in range(2))
        start = latents(one, 4)
        first, again, other = one.decode(start), one.decode(start), two.decode(start)
    assert torch.equal(first, again), "drawn again, the same latents give other images"
    assert torch.equal(first, other), "opened again, it draws other images"


def has_a_critic(make: Make) -> None:
    """The critic's last hidden layer is (n, hidden_dim), finite, and differs between images."""
    pool = toy_pool()
    with trained(make) as generator:
        hidden = generator.hidden(to_batch(pool.read(torch.arange(6).numpy()))).detach()
        dim = generator.hidden_dim
    assert hidden.shape == (6, dim), f"six images became {tuple(hidden.shape)}, and hidden_dim is {dim}"
    assert bool(hidden.isfinite().all()), "the hidden layer is not finite"
    assert float(hidden.std(0).max()) > 0, "all images have the same hidden layer"


def refuses_what_it_cannot_draw(make: Make) -> None:
    """Images of a size that it cannot draw are refused with a UserError; of any other it draws that size."""
    for shape in REFUSABLE:
        try:
            with trained(make, shape) as generator:
                _drawn(generator, 2, shape)
        except (UserError, AssertionError) as error:
            if isinstance(error, AssertionError):
                raise
        except Exception as error:
            raise AssertionError(
                f"images of {shape} end in {type(error).__name__}, not a UserError: {error}"
            ) from error


CHECKS: dict[str, Callable[[Make], None]] = {
    **training.CHECKS,
    "draws the pool's shape": draws_the_pools_shape,
    "draws different images": draws_different_images,
    "has a usable gradient": has_a_usable_gradient,
    "draws each image alone": draws_each_image_alone,
    "is the same when reloaded": is_the_same_when_reloaded,
    "has a critic": has_a_critic,
    "refuses what it cannot draw": refuses_what_it_cannot_draw,
}
