Object.assign(Study.prototype, {
  prefetch(trial) {
    this.decoded = this.decode(trial);
    this.decoded.catch(() => {});                                   // told when it is awaited
  },

  async decode(trial) {
    return Promise.all(this.pictures.get(trial).map(file => this.fitted(file)));
  },

  async fitted(file) {                // scaled to the square by its longer side
    const header = new DataView(await file.slice(16, 24).arrayBuffer());
    const [width, height] = [header.getUint32(0), header.getUint32(4)], scale = this.stage.square / Math.max(width, height);
    const side = length => Math.max(1, Math.round(length * scale));
    return createImageBitmap(file, {resizeWidth: side(width), resizeHeight: side(height), resizeQuality: "high"});
  },

  async frame() {
    const time = await nextFrame();
    this.run.signal.throwIfAborted();
    return time;
  },

  async hold(ms, start, ...parts) {       // shows `parts` in the frame nearest to start + ms -> [its time, the longest step until then]
    let time = start, longest = 0;
    while (time - start < ms - this.period / 2) {
      const next = await this.frame();
      longest = Math.max(longest, performance.now() - time);        // a late callback counts as well as a missing one
      time = next;
    }
    this.stage.show(...parts);
    return [time, longest];
  },
});
