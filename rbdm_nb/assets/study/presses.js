Object.assign(Study.prototype, {
  labelOf(event) {
    const is = key => key === event.key.toLowerCase() || /^\d$/.test(key) && [`Digit${key}`, `Numpad${key}`].includes(event.code);
    return this.labels()[this.settings.keys.findIndex(is)] ?? "";
  },

  onKey(event) {
    event.stopImmediatePropagation();
    if (event.ctrlKey || event.altKey || event.metaKey || event.key.length > 1 && event.key !== "Escape") return;
    if (event.key === " " && event.target.tagName === "BUTTON") return;          // presses that button
    event.preventDefault();
    if (event.repeat) return;
    if (event.key === "Escape") this.stop("escape");
    else this.press({time: event.timeStamp, key: event.key === " " ? "space" : event.key, label: this.labelOf(event)});
  },

  onPointer(event) {
    if (event.button === 0 && !event.target.closest(".card, button")) this.press({time: event.timeStamp, key: "click", label: "", at: [event.clientX, event.clientY]});
  },

  press(press) {
    const refused = this.accept ? this.accept(press) : this.idle;
    if (this.accept && !refused) this.answer(press);
    else if (this.now.trial) this.note("ignored", press.time, {key: press.key, detail: refused});
  },

  until(accept) {                     // the first press for which `accept` gives no reason to refuse it
    const {signal} = this.run;
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      [this.accept, this.answer] = [accept, press => { this.accept = null; resolve(press); }];
    });
  },

  onHidden() {
    if (this.run && this.now.run) this.note(document.hidden ? "hidden" : "visible", performance.now());
  },

  onResize() {
    this.stage.layout();
    if (this.run && this.now.trial) this.note("display", performance.now(), {detail: JSON.stringify(this.stage.geometry())});
  },

  onFullscreen() {
    if (this.run && this.now.run && this.full && !document.fullscreenElement) this.stop("left full screen");
  },
});
