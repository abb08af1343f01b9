"nbs/study.ipynb: a person labels own pictures in JupyterLab, and the answers are in the folder; without one, none are."
import json, os, subprocess, sys

import numpy as np, pytest
from PIL import Image
from rbdm_nb.gaze import study
from rbdm_nb.project import root
import study_browser

NOTEBOOK = root()/"nbs"/"study.ipynb"


@pytest.fixture
def pictures(tmp_path):
    "A folder of three pictures of different sizes, one in a folder, and a file beside them."
    folder = tmp_path/"pictures"
    (folder/"more").mkdir(parents=True)
    for k, name in enumerate(("dog.png", "cat.png", "more/owl.jpg")):
        Image.fromarray(np.full((60 + 10*k, 80, 3), 60*k + 40, np.uint8)).save(folder/name)
    (folder/"notes.txt").write_text("not a picture")
    return folder


def execute(folder, **values):
    "Papermill's run of the notebook; (its return code, what it said)."
    options = [o for k, v in values.items() for o in ("-r", k, str(v))]
    done = subprocess.run([sys.executable, "-m", "papermill", str(NOTEBOOK), str(folder/"out.ipynb"), *options],
                          cwd=root(), capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(root())})
    return done.returncode, done.stderr + (folder/"out.ipynb").read_text()


def test_without_a_person_it_runs_and_there_are_no_answers(tmp_path, pictures):
    code, said = execute(tmp_path, pictures=pictures, classes="pet, wild", annotator="B", output=tmp_path/"answers")
    assert code == 0 and "3 pictures in" in said and "1 other files not looked at" in said
    assert len(study.read_events(tmp_path/"answers"/"B_events.csv")) == 0
    assert (tmp_path/"answers"/"B_messages.tsv").is_file()


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path/"empty").mkdir()
    code, said = execute(tmp_path, pictures=tmp_path/"empty", output=tmp_path/"answers")
    assert code and "no picture there" in said and not (tmp_path/"answers").exists()


@pytest.mark.timeout(600)
def test_a_person_labels_own_pictures_in_jupyterlab(tmp_path, pictures):
    if not study_browser.chromium(): pytest.skip("needs Chromium: apt-get install chromium")
    cells = [c for c in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    values = dict(pictures=str(pictures), classes="pet,wild", annotator="B", output=str(tmp_path/"answers"))
    sources = [f"import os\nos.chdir({str(root())!r})"]
    for cell in cells:
        sources.append("".join(cell["source"]))
        if "parameters" in cell["metadata"].get("tags", []):
            sources.append("\n".join(f"{k} = {v!r}" for k, v in values.items()))
    with study_browser.lab_and_browser(tmp_path) as (lab, browser):
        lab.notebook("study.ipynb", *sources)
        tab = browser.tab(lab.url("study.ipynb"))
        study_browser.run_all(tab)
        tab.until("document.querySelectorAll('.rbdm-view').length === 1")
        stage = "document.querySelector('.rbdm-study')"
        tab.click_button("in full screen", "document.querySelector('.rbdm-view')")
        tab.until(f"{stage}?.querySelector('.card').innerText.includes('Begin')")
        tab.key(" ")
        for k in range(3):
            tab.until(f"{stage}?.querySelector('canvas').style.visibility === 'visible'")
            if k: tab.key(str(1 + k % 2))
            else:
                tab.click(30, 30)
                tab.until(f"{stage}?.querySelector('.card').style.visibility === 'visible'")
                tab.click_button("pet", stage)
            tab.until(f"{stage}?.querySelector('canvas').style.visibility !== 'visible'")
        tab.until(f"{stage}?.querySelector('.card').innerText.includes('Thank you')")
        file = tmp_path/"answers"/"B_events.csv"
        study_browser.wait(lambda: len(study.trials(study.read_events(file))) == 3, "the answers")
        table = study.trials(study.read_events(file))
    assert sorted(table.image) == ["cat.png", "dog.png", "more/owl.jpg"]
    assert list(table.label) == ["pet", "wild", "pet"]
    assert "response wild" in (tmp_path/"answers"/"B_messages.tsv").read_text()
