Object.assign(Study.prototype, {
  async prepare() {                                                 // -> the trials without a label
    this.open();
    const wanted = this.full && !document.fullscreenElement;
    const refused = wanted ? this.stage.area.requestFullscreen({navigationUI: "hide"}).then(() => "", error => error.message) : "";
    this.stage.say("One moment", ["Waiting for Python."]);
    if (this.saved < this.log.length) await this.orStopped(this.save());
    this.adopt((await this.orStopped(this.ask("start")))[0].log);
    if (this.stale()) throw new Error(this.tooOld());
    const done = this.done(), todo = this.settings.names.map((_, k) => k + 1).filter(trial => !done.has(trial));
    await this.load(todo);
    if (todo.length) await this.begin(todo, await refused);
    return todo;
  },

  orStopped(promise) {
    const {signal} = this.run;
    return Promise.race([promise, new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))]);
  },

  async load(todo) {
    const wanted = todo.filter(trial => !this.pictures.has(trial)), all = wanted.length;
    const fetchSome = async () => {
      for (let trial; (trial = wanted.shift()) !== undefined;) {
        this.stage.say("One moment", [`Loading images: ${all - wanted.length} of ${all}.`]);
        const [, files] = await this.orStopped(this.ask("image", {trial}));
        this.pictures.set(trial, files.map(file => new Blob([file], {type: "image/png"})));
      }
    };
    await Promise.all([fetchSome(), fetchSome(), fetchSome()]);
  },

  async begin(todo, refused) {
    this.period = await framePeriod();
    await this.welcome(todo, refused);
    this.prefetch(todo[0]);
    this.now = {run: 1 + Math.max(0, ...this.log.map(e => e.run)), trial: 0, offset: clockOffset()};
    this.note("run_start", performance.now(), {detail: JSON.stringify(this.describe())});
    this.begun?.();                   // what a study notes before its first trial
  },

  warnings(refused) {
    const room = Math.floor(this.stage.room()), {square} = this.stage, texts = [];
    if (refused) texts.push(`The browser refused full screen (${refused}).`);
    if (room < square) texts.push(`The window has room for ${room} of ${square} pixels: images are shown smaller.`);
    return texts.map(text => make("p", {className: "alert"}, text));
  },

  beginButton(text = "Begin (space bar)") {
    return make("div", {className: "row"}, button([text], event => this.press({time: event.timeStamp, key: "begin"}), true));
  },

  untilBegun() { return this.until(press => ["space", "begin"].includes(press.key) ? "" : "not begun"); },

  describe() {
    const {fullscreen} = this.stage.geometry();
    return {...this.about(), square_px: this.stage.square, fullscreen, frame_ms: round(this.period), pixel_ratio: devicePixelRatio,
            window: [innerWidth, innerHeight], screen: [screen.width, screen.height], utc_offset_min: -new Date().getTimezoneOffset(),
            browser: navigator.userAgent};
  },
});
