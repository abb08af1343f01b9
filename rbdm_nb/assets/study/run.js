Object.assign(Study.prototype, {
  open() {
    const {dialog, area} = this.stage;
    if (dialog.open) return;
    document.body.append(dialog);
    dialog.showModal();
    this.opened = new AbortController();
    const on = (target, event, f) => target.addEventListener(event, f.bind(this), {capture: true, signal: this.opened.signal});
    on(window, "keydown", this.onKey);
    on(area, "pointerdown", this.onPointer);
    on(document, "visibilitychange", this.onHidden);
    on(document, "fullscreenchange", this.onFullscreen);
    on(window, "resize", this.onResize);
    this.watchRatio(on);
    on(dialog, "cancel", event => event.preventDefault());
    on(dialog, "close", () => dialog.open || this.stop("closed"));       // the event may come when it is open anew
  },

  watchRatio(on) {                    // the window moved to another monitor, say: no resize tells of that
    on(matchMedia(`(resolution: ${devicePixelRatio}dppx)`), "change", () => { this.onResize(); this.watchRatio(on); });
  },

  close() {
    this.opened.abort();
    if (document.fullscreenElement === this.stage.area) document.exitFullscreen();
    this.stage.dialog.close();
    this.stage.dialog.remove();
  },

  stop(reason) {
    if (this.run) this.run.abort(new Error(reason));
    else this.close();
  },

  async start(full) {
    if (this.run) return;
    Object.assign(this, {run: new AbortController(), full, now: {run: 0, trial: 0, offset: 0}});
    this.changed();
    let ending = ["Thank you", WORDS.done];
    try {
      const todo = await this.prepare();
      for (let k = 0, blank; k < todo.length; k++) blank = await this.trial(todo[k], todo[k + 1], blank);
      this.now.trial = 0;
      this.last?.();                  // what a study notes behind its last trial
      this.finish("run_end");
    } catch (error) {
      this.finish("stop", {detail: error.message});
      ending = WORDS.endings?.[error.message] ?? ["Paused", WORDS.paused(this.done().size, this.settings.names.length)];
      if (error !== this.run.signal.reason) this.problem = error.message;
    }
    this.run = null;
    await this.ended(...ending);
  },

  finish(event, more) {
    if (this.now.run) this.note(event, performance.now(), more);
    Object.assign(this, {accept: null, now: {run: 0, trial: 0, offset: 0}});
  },

  async ended(title, text) {
    const buttons = [button(["Download events (CSV)"], () => this.download()), button(["Close"], () => this.close())];
    if (title === "Paused") buttons.unshift(button(["Continue"], () => this.start(this.full), true));
    const show = () => {
      const problem = this.problem ? [make("p", {className: "alert"}, this.problem)] : [];
      this.stage.say(title, [text], ...problem, make("div", {className: "row"}, ...buttons));
    };
    if (!this.stage.dialog.open) this.close();
    show();
    if (this.saved === this.log.length) return this.changed();
    await this.save();
    if (this.problem && !this.run) show();
  },
});
