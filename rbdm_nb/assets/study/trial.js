Object.assign(Study.prototype, {
  prefetch(trial) {
    this.decoded = this.decode(trial);
    this.decoded.catch(() => {});                                   // told when it is awaited
  },

  async decode(trial) {
    const file = this.pictures.get(trial), header = new DataView(await file.slice(16, 24).arrayBuffer());
    const [width, height] = [header.getUint32(0), header.getUint32(4)], scale = this.settings.square_px / Math.max(width, height);
    const fitted = side => Math.max(1, Math.round(side * scale));
    return createImageBitmap(file, {resizeWidth: fitted(width), resizeHeight: fitted(height), resizeQuality: "high"});
  },

  async frame() {
    const time = await nextFrame();
    this.run.signal.throwIfAborted();
    return time;
  },

  async hold(ms, start, part) {       // shows `part` in the frame nearest to start + ms -> [its time, the longest step until then]
    let time = start, longest = 0;
    while (time - start < ms - this.period / 2) {
      const next = await this.frame();
      longest = Math.max(longest, performance.now() - time);        // a late callback counts as well as a missing one
      time = next;
    }
    this.stage.show(part);
    return [time, longest];
  },

  async trial(trial, next, since) {   // `next`: the trial after it; `since`: when the screen became blank, if it is -> the same for the next trial
    const {blank_ms, cross_ms} = this.settings;
    this.stage.draw(await this.decoded);
    let time = since ?? await frameAfter(performance.now()), longest;
    this.stage.show(null);
    this.now = {run: this.now.run, trial, offset: clockOffset()};
    this.idle = "early";
    this.note("trial_start", time, {detail: JSON.stringify(this.stage.geometry())});
    for (const [ms, event, part] of [[blank_ms, "cross_on", "cross"], [cross_ms, "cross_off", null], [blank_ms, "image_on", "canvas"]]) {
      [time, longest] = await this.hold(ms, time, part);
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
    this.stage.show(null);
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
    const buttons = this.settings.classes.map((label, k) => button(keyHint(this.settings, k), choose(label)));
    this.stage.say("Which label fits the image?", [], make("div", {className: "labels"}, ...buttons));
  },
});
