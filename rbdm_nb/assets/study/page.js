class FileModel {                       // stands in for the notebook's kernel where there is none: the log is in the browser's storage
  constructor(settings, pictures) {
    Object.assign(this, {settings, pictures, key: `rbdm_nb ${settings.about.study} ${settings.file}`});
    addEventListener("storage", ({key}) => key === this.key && this.hear({owner: this.read().owner}, []));
  }

  get() { return this.settings; }
  on(_, hear) { this.hear = hear; }
  read() { return JSON.parse(localStorage.getItem(this.key)) ?? {log: [], owner: ""}; }

  write(state) {
    localStorage.setItem(this.key, JSON.stringify(state));
    return state;
  }

  send({id, ...message}) {              // done at once, so that no reload comes between; told later, as by a kernel
    let reply, files = [];
    try { [reply, files] = this.answer(message); } catch (error) { reply = {error: error.message}; }
    setTimeout(() => this.hear({id, ...reply}, files));
  }

  answer({kind, client, trial, first, events}) {      // as `_answer` of rbdm_nb.gaze.study
    if (kind === "image") return [{}, this.pictures[this.settings.names[trial - 1]].map(text => Uint8Array.from(atob(text), c => c.charCodeAt(0)))];
    const state = this.read();
    if (kind === "start") this.write(Object.assign(state, {owner: client}));
    if (kind === "forget") {
      localStorage.setItem(`${this.key} until ${Date.now()}`, JSON.stringify(state.log));
      this.write(Object.assign(state, {log: []}));
    }
    if (kind !== "events") return [state, []];
    if (state.owner !== client) throw new Error("the study was taken over by another window");
    if (first > state.log.length) throw new Error(`events ${state.log.length} to ${first - 1} are missing`);
    state.log.push(...events.slice(state.log.length - first));
    return [{saved: this.write(state).log.length}, []];
  }
}

const {settings, people, pictures} = JSON.parse(document.getElementById("study").textContent);
const everybody = Object.keys(people), asked = new URLSearchParams(location.search).get("participant");
const place = document.querySelector("main");

function begin(who) {
  const {initialize, render} = widget(), model = new FileModel({...settings, ...people[who]}, pictures);
  place.replaceChildren();
  initialize({model});
  render({el: place});
}

function choose() {                     // several may take part, each with an order of their own
  const list = make("select", {"aria-label": "Participant"}, ...everybody.map(who => make("option", {}, who)));
  const unknown = asked === null ? "" : `There is no participant ${asked}.`;
  place.append(make("style", {}, STYLE), make("section", {className: "rbdm-view", "aria-label": WORDS.title}, make("h3", {}, WORDS.title),
    make("p", {role: "alert", className: "alert"}, unknown), make("p", {}, "Who takes part?"), list,
    make("div", {className: "row"}, button(["Go on"], () => begin(list.value), true))));
}

if (everybody.includes(asked)) begin(asked);
else if (asked === null && everybody.length === 1) begin(everybody[0]);
else choose();
