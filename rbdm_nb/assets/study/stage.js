function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) name in element ? element[name] = value : element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const button = (content, onclick, main) => make("button", {type: "button", className: main ? "main" : "", onclick}, ...content);
const keyHint = (key, label) => [make("kbd", {}, key), label];

class Stage {
  constructor(settings) {
    Object.assign(this, {square: settings.square_px, parts: ["canvas", "cross", "card"], cursor: "none"});
    this.canvas = make("canvas", {role: "img", "aria-label": WORDS.image});
    this.cross = make("div", {className: "cross", role: "img", "aria-label": "Fixation cross"});
    this.card = make("div", {className: "card", "aria-live": "polite"});
    this.area = make("div", {className: "area", tabIndex: -1}, this.canvas, this.cross, this.card);
    this.dialog = make("dialog", {className: "rbdm-study", "aria-label": WORDS.title, "data-lm-suppress-shortcuts": "true"}, make("style", {}, STYLE), this.area);
    this.dialog.style.setProperty("--background", settings.background);
  }

  show(...wanted) {                             // some of `parts`, or none of them
    for (const name of this.parts) this[name].style.visibility = wanted.includes(name) ? "visible" : "hidden";
    this.area.style.cursor = wanted.includes("card") ? "auto" : this.cursor;
    this.area.focus();
  }

  say(title, texts, ...content) {
    this.card.replaceChildren(make("h2", {}, title), ...texts.map(text => make("p", {}, text)), ...content);
    this.show("card");
  }

  draw(bitmap) {                                // already of its final size, so nothing is left to compute
    [this.canvas.width, this.canvas.height] = [bitmap.width, bitmap.height];
    this.canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
    this.layout();
  }

  margin() { return 0; }                        // what must stay free above and below the square, in CSS pixels

  room() { return Math.min(innerWidth, innerHeight - 2 * this.margin()) * devicePixelRatio; }

  layout() {                                    // everything in pixels of the screen, centred on whole ones
    const ratio = devicePixelRatio, shrink = Math.min(1, this.room() / this.square), side = this.square * shrink;
    const corner = size => [innerWidth, innerHeight].map(whole => Math.round((whole * ratio - size) / 2));
    this.rect = [...corner(side), side, side];
    const place = (element, width, height) => Object.assign(element.style, {width: `${width / ratio}px`, height: `${height / ratio}px`,
                                                                            left: `${corner(width)[0] / ratio}px`, top: `${corner(height)[1] / ratio}px`});
    place(this.canvas, this.canvas.width * shrink, this.canvas.height * shrink);
    place(this.cross, 60, 60);
  }

  geometry() {                                  // image_rect: left, top, width, height of the square in pixels of the screen
    const full = document.fullscreenElement !== null || matchMedia("(display-mode: fullscreen)").matches;
    return {image_rect: this.rect, pixel_ratio: devicePixelRatio, fullscreen: full};
  }
}
