function view(study, el) {
  const {settings} = study, status = make("p", {role: "status"}), alert = make("p", {role: "alert", className: "alert"});
  const full = button([], () => study.start(true), true), windowed = button([], () => study.start(false));
  const save = button(["Download events (CSV)"], () => study.download());
  el.append(make("style", {}, STYLE), make("section", {className: "rbdm-view", "aria-label": "Labelling study", "data-lm-suppress-shortcuts": "true"},
    make("h3", {}, "Labelling study"), make("p", {}, "Images appear one by one, each after a cross in the middle of the screen. Label each with a key:"),
    keyList(settings), status, alert, make("div", {className: "row"}, full, windowed, save)));
  const refresh = () => {
    const done = study.done().size, all = settings.names.length, verb = done ? "Continue" : "Start", busy = study.run !== null;
    status.textContent = `${done} of ${all} images labelled.${busy ? " The study is running." : ""}`;
    alert.textContent = study.problem;
    [full.textContent, windowed.textContent] = [`${verb} in full screen`, `${verb} in this window`];
    full.disabled = windowed.disabled = busy || done === all;
    save.disabled = !study.log.length;
  };
  study.views.add(refresh);
  refresh();
  return () => study.views.delete(refresh);
}

export default () => {
  let study;
  return {
    initialize({model}) { study = new Study(model); },
    render({el}) { return view(study, el); },
  };
};
