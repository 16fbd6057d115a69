"""Pairs a second of training, and seconds of a forward pass, of a variant: the network alone, on made-up data.

python benchmarks/train_speed.py                       # the published network, 256x256, batch 4
python benchmarks/train_speed.py runs/quickstart/variant.yaml --size 128 --batch 8 --precision bfloat16
python benchmarks/train_speed.py --forward 2048        # one forward pass over 2048x2048 instead
python benchmarks/train_speed.py --unprepared          # without atldas.common.machine.prepare()
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from atldas.common.machine import prepare

if "--unprepared" not in sys.argv:  # before PyTorch is imported
    prepare()

import torch

from atldas.genotype import Genotype
from cheapmatting.data.sample import Batch
from cheapmatting.model.network import CheapMatting
from cheapmatting.training.recipe import TrainConfig
from cheapmatting.training.train import Training


def made_up_batch(count: int, size: int) -> Batch:
    picture = torch.rand(count, 3, size, size)
    trimap = torch.nn.functional.one_hot(torch.randint(0, 3, (count, size, size)), 3).permute(0, 3, 1, 2).float()
    alpha = torch.rand(count, 1, size, size)
    inputs = torch.cat([picture, trimap], dim=1).contiguous(memory_format=torch.channels_last)
    return Batch(inputs, alpha, picture, 1 - picture, trimap[:, 1:2], torch.ones_like(trimap[:, 1:2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variant", nargs="?", default="cheapmatting")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--forward", type=int, metavar="SIDE", help="time the forward pass at this side instead")
    parser.add_argument("--unprepared", action="store_true", help="leave memory and threads as the system has them")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    network = CheapMatting(Genotype.load(options.variant))
    seconds = []
    if options.forward:
        network = network.eval().to(device, memory_format=torch.channels_last)
        inputs = made_up_batch(1, options.forward).to(device).inputs
        with torch.inference_mode():
            for _ in range(4):
                start = time.perf_counter()
                network(inputs).cpu()
                seconds.append(time.perf_counter() - start)
        print(f"{statistics.median(seconds[1:]):.2f} s a forward pass at {options.forward}x{options.forward}")
        return
    settings = TrainConfig(schema=1, steps=10**6, precision=options.precision)
    training = Training(network, settings, device)
    batch = made_up_batch(options.batch, options.size).to(device)
    for _ in range(options.steps + 3):
        start = time.perf_counter()
        training.train_step(batch)  # reads the loss back, so the device has finished
        training.step += 1
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[3:])
    print(f"{options.batch / median:.2f} pairs a second ({median:.3f} s a step of {options.batch})")


if __name__ == "__main__":
    main()
