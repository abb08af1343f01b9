Object.assign(Study.prototype, {
  async prepare() {                                                 // -> the trials without a label
    this.open();
    const wanted = this.full && !document.fullscreenElement;
    const refused = wanted ? this.stage.area.requestFullscreen({navigationUI: "hide"}).then(() => "", error => error.message) : "";
    this.stage.say("One moment", ["Waiting for Python."]);
    if (this.saved < this.log.length) await this.orStopped(this.save());
    this.adopt((await this.orStopped(this.ask("start")))[0].log);
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
        const [, [file]] = await this.orStopped(this.ask("image", {trial}));
        this.pictures.set(trial, new Blob([file], {type: "image/png"}));
      }
    };
    await Promise.all([fetchSome(), fetchSome(), fetchSome()]);
  },

  async begin(todo, refused) {
    this.prefetch(todo[0]);
    this.period = await framePeriod();
    const room = Math.floor(this.stage.room()), {square_px} = this.settings, warnings = [];
    if (refused) warnings.push(`The browser refused full screen (${refused}).`);
    if (room < square_px) warnings.push(`The window has room for ${room} of ${square_px} pixels: images are shown smaller.`);
    this.stage.say(`${todo.length} image${todo.length > 1 ? "s" : ""} to label`, [
      "A cross appears in the middle of the screen: look at it. Then an image appears. Take the time you need.",
      "Press the key of a label as soon as you have decided. Or press the space bar (or click) to take the image away, and choose the label then.",
      "The escape key makes a pause."], keyList(this.settings), ...warnings.map(text => make("p", {className: "alert"}, text)),
      make("div", {className: "row"}, button(["Begin (space bar)"], event => this.press({time: event.timeStamp, key: "begin"}), true)));
    await this.until(press => ["space", "begin"].includes(press.key) ? "" : "not begun");
    this.now = {run: 1 + Math.max(0, ...this.log.map(e => e.run)), trial: 0, offset: clockOffset()};
    this.note("run_start", performance.now(), {detail: JSON.stringify(this.describe())});
  },

  describe() {
    const {fullscreen} = this.stage.geometry(), {annotator, square_px} = this.settings;
    return {annotator, square_px, fullscreen, frame_ms: round(this.period), pixel_ratio: devicePixelRatio, window: [innerWidth, innerHeight],
            screen: [screen.width, screen.height], utc_offset_min: -new Date().getTimezoneOffset(), browser: navigator.userAgent};
  },
});
