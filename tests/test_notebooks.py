"""Every notebook runs on what a real night wrote, and its two forms agree."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@pytest.mark.models
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_notebook_runs(path, real_night, monkeypatch):
    import jupytext
    from nbclient import NotebookClient

    monkeypatch.setenv("HUITING_SETTINGS", str(real_night.settings_file))
    monkeypatch.setenv("MPLBACKEND", "Agg")  # as Streamlit leaves it for the kernels of its process
    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS.parent)}}).execute()
    pictures = [out for cell in notebook.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
    assert len(pictures) >= 4


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_both_forms_say_the_same(path):
    import jupytext

    text, paired = jupytext.read(path), jupytext.read(path.with_suffix(".ipynb"))
    assert [cell.source for cell in text.cells] == [cell.source for cell in paired.cells]
    assert not any(cell.get("outputs") for cell in paired.cells)  # outputs may show what callers said
