const WORDS = {
  title: "Click study",
  image: "The face to uncover by clicks",
  intro: ({instructions}) => instructions.map(text => make("p", {}, text)),
  progress: (done, all) => `${done} of ${all} faces answered.`,
  paused: (done, all) => `${done} of ${all} faces are answered.`,
  done: "All faces are answered.",
  endings: {"no consent": ["Thank you", "Without your consent the study does not begin. Nothing was recorded."]},
};
const CARD_CM = [8.56, 5.398];                        // a bank card, ISO/IEC 7810 ID-1

class RevealStage extends Stage {
  constructor(settings) {
    super(settings);
    this.options = make("div", {className: "options", role: "group", "aria-label": "The two labels"});
    this.area.insertBefore(this.options, this.card);
    this.parts.push("options");
    this.cursor = "auto";
  }

  margin() { return 84; }                             // the labels stand below the face

  draw([original, hidden]) {                          // both of their final size
    for (const old of [this.original, this.hidden]) old?.close();
    Object.assign(this, {original, hidden});
    [this.canvas.width, this.canvas.height] = [hidden.width, hidden.height];
    this.paint(hidden);
    this.layout();
  }

  paint(bitmap) { this.canvas.getContext("2d").drawImage(bitmap, 0, 0); }

  uncover([x, y], radius, persist) {                  // shares of the side
    const context = this.canvas.getContext("2d"), side = this.canvas.width;
    if (!persist) this.paint(this.hidden);
    context.save();
    context.beginPath();
    context.arc(x * side, y * side, radius * side, 0, 2 * Math.PI);
    context.clip();
    this.paint(this.original);
    context.restore();
  }

  place([left, top]) {                                // CSS pixels -> shares of the side
    const box = this.canvas.getBoundingClientRect();
    return [(left - box.left) / box.width, (top - box.top) / box.height];
  }

  layout() {
    super.layout();
    this.options.style.top = `${(this.rect[1] + this.rect[3]) / devicePixelRatio + 18}px`;
  }
}

Object.assign(Study.prototype, {
  makeStage() { return new RevealStage(this.settings); },

  labels() {                                          // those on offer, left and right
    if (!this.now.trial) return [];
    const {left, true: right, false: wrong} = this.settings.trials[this.now.trial - 1];
    return left === right ? [right, wrong] : [wrong, right];
  },

  async trial(trial, next, since) {                   // as in the labelling study
    const {blank_ms, options_ms} = this.settings, plan = this.settings.trials[trial - 1];
    const rested = await this.enter(plan.block);
    this.stage.draw(await this.decoded);
    if (plan.kind === "catch") this.stage.paint(this.stage.original);
    let time = !rested && since || await frameAfter(performance.now()), longest;
    this.stage.show();
    this.now = {run: this.now.run, trial, offset: clockOffset()};
    this.stage.options.replaceChildren(...this.optionButtons());
    this.idle = "early";
    this.note("trial_start", time, {detail: JSON.stringify({...plan, ...this.stage.geometry()})});
    for (const [ms, event, ...parts] of [[blank_ms, "options_on", "options"], [options_ms, "image_on", "options", "canvas"]]) {
      [time, longest] = await this.hold(ms, time, ...parts);
      this.note(event, time, {longest_frame_ms: round(longest)});
    }
    if (plan.kind === "catch") this.note("catch", time);
    this.save();                                      // a page that is reloaded now has shown the face
    return this.answers(plan, time, next);
  },

  optionButtons() {
    const choose = label => event => this.press({time: event.timeStamp, key: event.detail ? "click" : "enter", label});
    return this.labels().map((label, k) => button(keyHint(this.settings.keys[k].toUpperCase(), label), choose(label)));
  },

  async answers(plan, shown, next) {
    const {radius, persist} = this.settings, clicks = [], refuse = press => this.refusal(press, plan, shown, clicks);
    this.idle = "late";
    if (next) this.prefetch(next);
    let press = await this.until(refuse);
    for (; !press.label; press = await this.until(refuse)) {
      const [x, y] = this.stage.place(press.at).map(share => Math.round(share * 1e6) / 1e6);
      clicks.push(press.time);
      this.stage.uncover([x, y], radius, persist);
      this.note("click", press.time, {key: press.key, detail: JSON.stringify({n: clicks.length, x, y})});
      this.save();
    }
    this.note("response", press.time, {key: press.key, label: press.label});
    const off = await frameAfter(press.time);
    this.stage.show();
    this.note("image_off", off);
    this.save();
    if (plan.kind !== "practice" && !this.settings.feedback) return off;
    await this.feedback(press.label, plan.true);      // its card is on the screen
  },

  refusal({time, key, label, at}, plan, shown, clicks) {        // "", or why a press does nothing
    const {allow_blind, max_clicks, refractory_ms} = this.settings;
    if (time < shown) return "early";
    if (label) return clicks.length || allow_blind || plan.kind === "catch" ? "" : "no click yet";
    if (key !== "click") return "unknown key";
    if (this.stage.place(at).some(share => share < 0 || share > 1)) return "outside";
    if (plan.kind === "catch") return "uncovered";
    if (max_clicks !== null && clicks.length >= max_clicks) return "limit";
    return clicks.length && time - clicks.at(-1) < refractory_ms ? "refractory" : "";
  },

  async feedback(label, right) {
    this.now.trial = 0;
    this.stage.say(label === right ? "Right" : "Not right", [`It was ${right}.`], this.beginButton("Go on (space bar)"));
    await this.untilBegun();
  },

  async enter(block) {                                // a trial of this block is next -> whether there was a break
    const before = this.block;
    if (block === before) return false;
    this.leave();
    this.block = block;
    if (before !== undefined) await this.rest(before);
    this.note(block ? "block_start" : "practice_start", performance.now(), {detail: JSON.stringify({block})});
    return before !== undefined;
  },

  leave() {                                           // the end of the block so far, if there is one
    this.now.trial = 0;
    if (this.block === undefined) return;
    this.note(this.block ? "block_end" : "practice_end", performance.now(), {detail: JSON.stringify({block: this.block})});
  },

  last() { this.leave(); },

  async rest(block) {
    const main = this.settings.trials.map(({kind}, k) => [kind, k + 1]).filter(([kind]) => kind !== "practice");
    const done = this.done(), answered = main.filter(([, trial]) => done.has(trial)).length;
    const bar = make("progress", {max: main.length, value: answered, "aria-label": "Progress"});
    if (block) this.note("break", performance.now());
    const title = block ? `Part ${block} of ${this.settings.blocks} is done` : "The practice is over";
    const text = block ? `${answered} of ${main.length} faces are answered. Take a break, as long as you like.`
                       : `Now it counts.${this.settings.feedback ? "" : " You are no longer told whether an answer was right."}`;
    this.stage.say(title, [text], bar, this.beginButton("Go on (space bar)"));
    await this.untilBegun();
  },

  async welcome(todo, refused) {
    const {settings} = this, last = this.log.findLast(e => e.event === "run_start");
    Object.assign(this, {block: undefined, agreed: false, calibrated: false});
    this.perCm = last ? JSON.parse(last.detail).px_per_cm ?? settings.px_per_cm : settings.px_per_cm;
    if (settings.consent.length && !this.log.some(e => e.event === "consent")) await this.consent();
    if (settings.calibrate) await this.calibrate();
    const keys = settings.keys.map(key => key.toUpperCase());
    this.stage.say(`${todo.length} face${todo.length > 1 ? "s" : ""} to come`, [...settings.instructions,
      `Answer by the buttons below the face, or by the keys ${keys[0]} for the left label and ${keys[1]} for the right one. The escape key makes a pause.`],
      ...this.warnings(refused), this.beginButton());
    await this.untilBegun();
  },

  begun() { if (this.agreed) this.note("consent", performance.now(), {detail: this.settings.consent_digest}); },

  async consent() {
    const agree = button(["I agree"], event => this.press({time: event.timeStamp, key: "agree"}), true);
    const refuse = button(["I do not agree"], () => this.stop("no consent"));
    this.stage.say("Before we begin", this.settings.consent, make("div", {className: "row"}, agree, refuse));
    await this.until(press => press.key === "agree" ? "" : "not agreed");
    this.agreed = true;
  },

  async calibrate() {
    const frame = make("div", {className: "bank-card"});
    const start = Math.min(560, Math.max(150, this.perCm * CARD_CM[0] / devicePixelRatio));
    const slider = make("input", {type: "range", min: 150, max: 560, step: .5, "aria-label": "Width of the frame"});
    const fit = () => [frame.style.width, frame.style.height] = [`${slider.value}px`, `${slider.value * CARD_CM[1] / CARD_CM[0]}px`];
    [slider.value, slider.oninput] = [start, fit];
    fit();
    const done = button(["It fits"], event => this.press({time: event.timeStamp, key: "fits"}), true);
    this.stage.say("How large is the screen?", ["Hold a bank card against the screen and move the slider until the frame is as wide as the card."],
      frame, slider, make("div", {className: "row"}, done));
    await this.until(press => press.key === "fits" ? "" : "not measured");
    Object.assign(this, {calibrated: true, perCm: slider.value * devicePixelRatio / CARD_CM[0]});
    if (this.settings.size_cm !== null) this.stage.square = Math.max(16, Math.round(this.settings.size_cm * this.perCm));
  },

  about() {
    const degree = 2 * this.settings.distance_cm * Math.tan(Math.PI / 360) * this.perCm;
    return {...this.settings.about, calibrated: this.calibrated, px_per_cm: round(this.perCm), px_per_deg: round(degree)};
  },
});
