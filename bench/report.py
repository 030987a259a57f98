"""Tables, ratios and plots made of results."""
import math
import statistics

TARGETS = (0.90, 0.95, 0.99)
OURS = "omendb"


def at_recall(points, target, cost):
    """(cost, mark) where the curve reaches the recall, or None if never.

    Between two knob values the logarithm of the cost is taken as linear in
    recall. If all searches have that recall, the cost of the cheapest is an
    upper bound, marked so.
    """
    points = sorted(points, key=lambda point: point["knob"])
    if points[0]["recall"] >= target:
        return min(point[cost] for point in points), "<= "
    for low, high in zip(points, points[1:]):
        if low["recall"] < target <= high["recall"]:
            part = ((target - low["recall"]) /
                    (high["recall"] - low["recall"]))
            return math.exp((1 - part) * math.log(low[cost]) +
                            part * math.log(high[cost])), ""
    return None


def number(value, digits=3):
    """A number to read: about as many digits as are given."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def table(head, rows):
    """Markdown; cells are text or numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(number(cell) for cell in row) + " |"
              for row in rows]
    return lines + [""]


def ratio(ours, theirs):
    """ours / theirs as text; both (cost, mark) of at_recall."""
    if not ours or not theirs:
        return "not reached"
    mark = {("<= ", ""): "<= ", ("", "<= "): ">= ",
            ("<= ", "<= "): "~ "}.get((ours[1], theirs[1]), "")
    return f"{mark}{ours[0] / theirs[0]:.2f}"


def ratio_table(results, cost):
    """Costs of each peer at equal recall, and ours divided by theirs."""
    rows = []
    for target in TARGETS:
        costs = {peer: at_recall(points, target, cost)
                 for peer, points in results.items()}
        mine = costs[OURS]
        for peer, found in costs.items():
            if peer == OURS:
                continue
            rows.append((
                f"{target:.2f}", peer,
                mine[1] + number(mine[0]) if mine else "not reached",
                found[1] + number(found[0]) if found else "not reached",
                ratio(mine, found)))
    return table(["recall@10", "peer", f"{OURS} {cost}", f"peer {cost}",
                  "ratio"], rows)


def cost_table(costs, units):
    """costs: {what: {peer: {unit: value}}}; a line for each, with ratios."""
    peers = list(dict.fromkeys(p for by_peer in costs.values()
                               for p in by_peer))
    others = [peer for peer in peers if peer != OURS]
    rows = []
    for what, by_peer in costs.items():
        for unit in units:
            values = [by_peer.get(peer, {}).get(unit) for peer in peers]
            if all(value is None for value in values):
                continue
            mine = by_peer.get(OURS, {}).get(unit)
            shares = [by_peer.get(peer, {}).get(unit) for peer in others]
            if unit.startswith("recall"):
                values = [value and f"{value:.4f}" for value in values]
                shares = [None] * len(others)
            rows.append((what, unit, *values,
                         *(f"{mine / share:.2f}" if mine and share else ""
                           for share in shares)))
    return table(["", "", *peers, *(f"{OURS} / {peer}" for peer in others)],
                 rows)


def medians(samples):
    """One dictionary of the medians of a list of alike dictionaries."""
    return {key: statistics.median(sample[key] for sample in samples)
            for key in samples[0]}


def plot(path, title, results, cost, label):
    """Recall against a cost, one line a peer, as SVG."""
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for peer, points in results.items():
        axes.plot([p["recall"] for p in points], [p[cost] for p in points],
                  marker="o", label=peer)
    axes.set(title=title, xlabel="recall@10", ylabel=label, yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
