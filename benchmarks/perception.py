"""Speed of heatmaps and perceptive masks on this machine, as ratios from one run.

    python benchmarks/perception.py [--side 1200] [--sample 40] [--seconds 10] [--maps 10000]

Prints, for 200 and 10,000 fixations: seconds for a heatmap of the study's size, whole and cut at half a visual span,
and how many times faster that is than the direct sum. The direct sum takes the same time for every point, so it is
measured on --sample points and scaled; --sample 10000 measures it in full, in minutes. Then: seconds for the
perceptive masks of --maps relevance maps of 48 x 48, and how many times faster that is than one heatmap a map."""
import argparse, os, sys, time
from functools import partial
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np
from rbdm_nb.gaze.perception import Setup, fixation_heatmap


def direct_sum(points, shape, visual_span, cutoff=None):
    "The formula of section 5.3.2: every pixel, every point."
    rows, columns = np.ogrid[:shape[0], :shape[1]]
    heat, c = np.zeros(shape), 0.17*visual_span
    for x, y in points:
        square = (columns - x)**2 + (rows - y)**2
        seen = np.exp(-square/(2*c**2))
        heat += seen if cutoff is None else np.where(square <= cutoff**2, seen, 0)
    return heat


def median_seconds(function, seconds):
    "Median seconds of a call, of at least three and as many as fit into `seconds`."
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter(); function(); times.append(time.perf_counter() - start)
    return float(np.median(times))


def heatmaps(side, sample, seconds):
    shape, span = (side, side), Setup(image_px=side).visual_span()
    draw = np.random.default_rng(0)
    for cutoff, name in ((None, "whole"), (span/2, "cut at half a span")):
        few = draw.uniform(0, side - 1, (sample, 2))
        start = time.perf_counter(); direct_sum(few, shape, span, cutoff); direct = (time.perf_counter() - start)/sample
        for n in (200, 10_000):
            points = draw.uniform(0, side - 1, (n, 2))
            for at, where in ((points, "between pixels"), (points.round(), "on pixels")):
                ours = median_seconds(partial(fixation_heatmap, at, shape, span, cutoff), seconds/8)
                print(f"  {n:6,} points {where:14}, {name:18}: {ours:6.3f} s, direct sum {direct*n:7.1f} s: "
                      f"{direct*n/ours:6.0f} x", flush=True)
    exact = fixation_heatmap(points[:sample], shape, span, span/2), direct_sum(points[:sample], shape, span, span/2)
    print(f"  largest difference at {sample} points: {np.abs(exact[0] - exact[1]).max():.1e}")


def masks(n, seconds):
    from rbdm_nb.masking import perceptive_mask
    from rbdm_nb.gaze.perception import network_fixations
    relevance, span = (np.random.default_rng(0).gamma(0.3, size=(n, 48, 48)).astype("float32"),
                       Setup().relative_span()*48)
    for fixations in (10, 100):
        ours = median_seconds(partial(perceptive_mask, relevance, fixations), seconds/4)
        start = time.perf_counter()
        few = [fixation_heatmap(points, (48, 48), span, span/2) > 0
               for points in network_fixations(relevance[:200], fixations)]
        single = (time.perf_counter() - start)/200*n
        assert (np.stack(few) == perceptive_mask(relevance[:200], fixations)).all()
        print(f"  {n:,} perceptive masks of {fixations:3} fixations: {ours:.2f} s ({ours/n*1e6:.0f} µs each), one "
              f"heatmap a map {single:.1f} s: {single/ours:.0f} x", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1200, help="side of the heatmap in pixels")
    parser.add_argument("--sample", type=int, default=40, help="points on which the direct sum is measured")
    parser.add_argument("--seconds", type=float, default=10, help="length of a measurement")
    parser.add_argument("--maps", type=int, default=10_000, help="relevance maps of 48 x 48")
    options = parser.parse_args()
    print(f"heatmaps of {options.side} x {options.side}")
    heatmaps(options.side, options.sample, options.seconds)
    print("masks of 48 x 48")
    masks(options.maps, options.seconds)
