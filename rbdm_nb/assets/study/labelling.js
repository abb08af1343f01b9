const WORDS = {
  title: "Labelling study",
  image: "The image to label",
  intro: settings => [make("p", {}, "Images appear one by one, each after a cross in the middle of the screen. Label each with a key:"), keyList(settings)],
  progress: (done, all) => `${done} of ${all} images labelled.`,
  paused: (done, all) => `${done} of ${all} images are labelled.`,
  done: "All images are labelled.",
};

const keyList = ({keys, classes}) => make("ul", {className: "labels"}, ...classes.map((label, k) => make("li", {}, ...keyHint(keys[k], label))));

Object.assign(Study.prototype, {
  makeStage() { return new Stage(this.settings); },
  labels() { return this.settings.classes; },
  about() { return this.settings.about; },

  async welcome(todo, refused) {      // the card before the first trial
    this.stage.say(`${todo.length} image${todo.length > 1 ? "s" : ""} to label`, [
      "A cross appears in the middle of the screen: look at it. Then an image appears. Take the time you need.",
      "Press the key of a label as soon as you have decided. Or press the space bar (or click) to take the image away, and choose the label then.",
      "The escape key makes a pause."], keyList(this.settings), ...this.warnings(refused), this.beginButton());
    await this.untilBegun();
  },

  async trial(trial, next, since) {   // `next`: the trial after it; `since`: when the screen became blank, if it is -> the same for the next trial
    const {blank_ms, cross_ms} = this.settings;
    this.stage.draw((await this.decoded)[0]);
    let time = since ?? await frameAfter(performance.now()), longest;
    this.stage.show();
    this.now = {run: this.now.run, trial, offset: clockOffset()};
    this.idle = "early";
    this.note("trial_start", time, {detail: JSON.stringify(this.stage.geometry())});
    for (const [ms, event, ...parts] of [[blank_ms, "cross_on", "cross"], [cross_ms, "cross_off"], [blank_ms, "image_on", "canvas"]]) {
      [time, longest] = await this.hold(ms, time, ...parts);
      this.note(event, time, {longest_frame_ms: round(longest)});
    }
    return this.answers(time, next);
  },

  async answers(shown, next) {
    const waiting = this.until(p => p.time < shown ? "early" : p.label || ["space", "click"].includes(p.key) ? "" : "unknown key");
    this.idle = "late";
    if (next) this.prefetch(next);
    let {key, label, time} = await waiting;
    this.note(label ? "response" : "advance", time, {key, label});
    let off = await frameAfter(time);
    this.stage.show();
    this.note("image_off", off);
    if (!label) {
      this.askLabel();
      ({key, label, time} = await this.until(p => p.label ? "" : "unknown key"));
      this.note("response", time, {key, label});
      off = undefined;                // the card is on the screen
    }
    this.save();
    return off;
  },

  askLabel() {
    const choose = label => event => this.press({time: event.timeStamp, key: event.detail ? "click" : "enter", label});
    const buttons = this.settings.classes.map((label, k) => button(keyHint(this.settings.keys[k], label), choose(label)));
    this.stage.say("Which label fits the image?", [], make("div", {className: "labels"}, ...buttons));
  },
});
