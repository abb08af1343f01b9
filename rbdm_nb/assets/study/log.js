class Study {
  constructor(model) {
    this.model = model;
    this.settings = model.get("_settings");
    this.client = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;       // this page
    Object.assign(this, {log: [], saved: 0, asked: 0, problem: "", pending: new Map(), pictures: new Map(), views: new Set()});
    Object.assign(this, {run: null, now: {run: 0, trial: 0, offset: 0}, idle: "", accept: null});
    this.stage = this.makeStage();
    model.on("msg:custom", (message, buffers) => this.receive(message, buffers));
    this.ask("log").then(([reply]) => this.run || this.adopt(reply.log), error => this.run || this.complain(error));
  }

  ask(kind, content = {}, patience = 20000) {                       // -> [reply, buffers]
    const id = `${this.client} ${++this.asked}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => { this.pending.delete(id); reject(new Error("Python does not answer: the kernel is busy, or gone")); }, patience);
      this.pending.set(id, (reply, buffers) => {
        clearTimeout(timer);
        this.pending.delete(id);
        reply.error ? reject(new Error(reply.error)) : resolve([reply, buffers]);
      });
      this.model.send({kind, id, client: this.client, ...content});
    });
  }

  receive(message, buffers) {
    this.pending.get(message.id)?.(message, buffers);
    if (message.owner && message.owner !== this.client && this.run) this.stop("taken over by another window");
  }

  forget() { return this.ask("forget").then(([reply]) => this.adopt(reply.log), error => this.complain(error)); }

  stale() {                                                         // is what there is too old to go on behind it?
    const last = this.log.at(-1), hours = this.settings.max_age_h;
    return hours !== undefined && last !== undefined && !this.finished() && Date.now() - last.epoch_ms > hours * 3.6e6;
  }

  tooOld() { return `The last answer is from ${new Date(this.log.at(-1).epoch_ms).toLocaleString()}, too long ago to go on behind it. Download the events, then begin anew.`; }
  finished() { return this.done().size === this.settings.names.length; }
  adopt(log) { Object.assign(this, {log, saved: log.length, problem: ""}); this.changed(); }
  changed() { for (const refresh of this.views) refresh(); }
  complain(error) { this.problem = error.message; this.changed(); }
  done() { return new Set(this.log.filter(e => e.event === "response").map(e => e.trial)); }

  note(event, time, more = {}) {
    const {run, trial, offset} = this.now, image = trial ? this.settings.names[trial - 1] : "";
    this.log.push({run, trial, image, event, time_ms: round(time), epoch_ms: round(time + offset), key: "", label: "", longest_frame_ms: null, detail: "", ...more});
  }

  async save() {
    const first = this.saved, events = this.log.slice(first);
    try {
      if (events.length) this.saved = Math.max(this.saved, (await this.ask("events", {first, events}))[0].saved);
      this.problem = "";
    } catch (error) { this.problem = `${error.message}. ${this.log.length - this.saved} events are in this page only: download them before you close it.`; }
    this.changed();
  }

  download() {
    const quote = value => value === null ? "" : /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
    const rows = [this.settings.columns, ...this.log.map(e => this.settings.columns.map(c => quote(e[c])))];
    const file = new Blob([rows.map(row => row.join(",") + "\n").join("")], {type: "text/csv"});
    make("a", {href: URL.createObjectURL(file), download: `${this.settings.file}_events.csv`}).click();
  }
}
