from storage.latencies import BOUNDS_MS, LatencyHistogram


def test_each_length_is_counted_in_its_place() -> None:
    histogram = LatencyHistogram()
    for milliseconds in (0.2, 1, 1.001, 7, 5000, 60_000):
        histogram.add(milliseconds / 1000)
    counted = {bound: count for bound, count in zip((*BOUNDS_MS, "more"), histogram.counts, strict=True) if count}
    assert counted == {1: 2, 2: 1, 10: 1, 5000: 1, "more": 1}
    assert histogram.count == 6 and round(histogram.seconds, 4) == 65.0092
