"""Write judgments for tests: tables, BAPPS folders, and images."""

import numpy as np
from PIL import Image

VOTES = "ref,p0,p1,votes_p0,votes_p1"


def image(path, size=(16, 16), value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def table(path, *lines, header=VOTES):
    """Write lines as they are, after a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join([header, *lines]) + "\n").encode())
    return path


def bapps(folder, judgements, parts=("ref", "p0", "p1", "judge"), images=True):
    """Write one family of BAPPS."""
    for number, judgement in enumerate(judgements):
        for value, part in enumerate(parts[:-1]):
            (folder / part).mkdir(parents=True, exist_ok=True)
            path = folder / part / f"{number:06}.png"
            image(path, value=40 * value) if images else path.touch()
        (folder / parts[-1]).mkdir(exist_ok=True)
        np.save(folder / parts[-1] / f"{number:06}.npy", np.array([judgement], dtype=np.float32))
    return folder
