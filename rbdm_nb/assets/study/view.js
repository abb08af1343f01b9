function view(study, el) {
  const {settings} = study, status = make("p", {role: "status"}), alert = make("p", {role: "alert", className: "alert"});
  const full = button([], () => study.start(true), true), windowed = button([], () => study.start(false));
  const save = button(["Download events (CSV)"], () => study.download());
  const anew = button(["Begin anew"], () => study.forget());
  el.append(make("style", {}, STYLE), make("section", {className: "rbdm-view", "aria-label": WORDS.title, "data-lm-suppress-shortcuts": "true"},
    make("h3", {}, WORDS.title), ...WORDS.intro(settings), status, alert, make("div", {className: "row"}, full, windowed, save, anew)));
  const refresh = () => {
    const done = study.done().size, all = settings.names.length, verb = done ? "Continue" : "Start", busy = study.run !== null;
    status.textContent = `${WORDS.progress(done, all)}${busy ? " The study is running." : ""}`;
    const stale = !busy && study.stale();
    alert.textContent = stale ? study.tooOld() : study.problem;
    anew.hidden = !stale;
    [full.textContent, windowed.textContent] = [`${verb} in full screen`, `${verb} in this window`];
    full.disabled = windowed.disabled = busy || stale || done === all;
    save.disabled = !study.log.length;
  };
  study.views.add(refresh);
  refresh();
  return () => study.views.delete(refresh);
}

const widget = () => {
  let study;
  return {
    initialize({model}) { study = new Study(model); },
    render({el}) { return view(study, el); },
  };
};
