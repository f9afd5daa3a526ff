// The preview of a result: scroll through its images, with what the model marked over them.
//
// The box sends stored numbers (u1, u2, i2) or rgb bytes, one image a request; the window is applied here, so
// that turning it asks for nothing. Marks come from the objects that were sent: polygons and points in pixels of
// their image, and masks as bits, whose edges are drawn as lines and so stay sharp at any zoom.
//
// Everything lives in this page's memory, in bounded amounts, and is gone with the page: nothing is written to
// a cache or a store, for it is patient data.

const KEPT_BYTES_MAX = 192 * 2 ** 20; // decoded images of this page
const AHEAD = 12; // images fetched beyond the shown one, in the direction of scrolling
const BEHIND = 4;
const FETCHES_MAX = 4;
const RETRY_MS = 700;
const RETRIES_MAX = 20;
const PAGE = 10;
const ZOOM_STEP = 1.25;
const ZOOM_MAX = 40;
const LABELS_MAX = 60; // names drawn on one image; all are in the list
const DEFAULT_COLOUR = [255, 77, 56];
const BITS = { u1: Uint8Array, u2: Uint16Array, i2: Int16Array };

const $ = (id) => document.getElementById(id);
const root = $("preview");
const screen = $("screen");
const picture = $("image");
const layer = $("overlay");
const base = `/api/v1/results/${root.dataset.result}/preview`;

const view = {
  scene: null,
  wanted: 1, // where the reader is
  shown: 0, // what the screen shows; its label never says anything else
  direction: 1,
  overlay: true,
  mark: -1, // index into `listed`
  window: null, // [centre, width] that the reader chose; null: the image's own
  preset: "Image",
  zoom: 1,
  pan: [0, 0], // CSS pixels
};
let listed = []; // what the list names, in order: { label, numbers, image, colour, images, mark, segment }
const kept = new Map(); // image number -> { about, pixels, regions, bytes }
const coming = new Map(); // image number -> AbortController
const failed = new Map(); // image number -> sentence

// --- getting data

class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

async function ask(path, signal) {
  const answer = await fetch(base + path, { cache: "no-store", credentials: "same-origin", signal });
  if (answer.ok) return answer;
  let sentence = "The box could not answer.";
  try {
    sentence = (await answer.json()).error ?? sentence;
  } catch {
    // What stands before the box may answer with something else than its sentences.
  }
  if (answer.status === 401) sentence = "You are logged out. Load the page again to log in.";
  throw new Refused(answer.status, sentence);
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// The box decodes few images at once and says so; then it is asked again.
async function askPatiently(path, signal) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask(path, signal);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 503 || tries >= RETRIES_MAX) throw error;
      await pause(RETRY_MS);
    }
  }
}

async function load(number, signal) {
  const marked = view.scene.segments.some((segment) => segment.images.includes(number));
  const [pixels, regions] = await Promise.all([
    askPatiently(`/${number}/pixels`, signal),
    marked ? askPatiently(`/${number}/regions`, signal).then((answer) => answer.json()) : { regions: [] },
  ]);
  const about = JSON.parse(pixels.headers.get("x-image"));
  const buffer = await pixels.arrayBuffer();
  const stored = about.kind === "rgb" ? new Uint8Array(buffer) : new BITS[about.kind](buffer);
  return { about, pixels: stored, regions: regions.regions.map(traced), bytes: buffer.byteLength };
}

// Fetch what is wanted, then what comes next; what the reader scrolled far away from is let go.
function plan() {
  const total = view.scene.images.length;
  const ahead = Array.from({ length: AHEAD }, (_, step) => view.wanted + view.direction * (step + 1));
  const behind = Array.from({ length: BEHIND }, (_, step) => view.wanted - view.direction * (step + 1));
  const wish = [view.wanted, ...ahead, ...behind].filter((number) => number >= 1 && number <= total);
  for (const [number, controller] of coming) {
    if (!wish.includes(number)) controller.abort();
  }
  for (const number of wish) {
    if (coming.size >= FETCHES_MAX) break;
    if (!kept.has(number) && !coming.has(number) && !failed.has(number)) fetchOne(number);
  }
}

async function fetchOne(number) {
  const controller = new AbortController();
  coming.set(number, controller);
  try {
    kept.set(number, await load(number, controller.signal));
    forget();
  } catch (error) {
    if (!controller.signal.aborted) failed.set(number, told(error));
  } finally {
    coming.delete(number);
  }
  if (number === view.wanted) show();
  plan();
}

const told = (error) => (error instanceof Refused ? error.message : "The box does not answer.");

// Let the images go that are farthest from where the reader is.
function forget() {
  let bytes = [...kept.values()].reduce((sum, one) => sum + one.bytes, 0);
  const farthest = [...kept.keys()].sort((a, b) => Math.abs(b - view.wanted) - Math.abs(a - view.wanted));
  for (const number of farthest) {
    if (bytes <= KEPT_BYTES_MAX || number === view.wanted) return;
    bytes -= kept.get(number).bytes;
    kept.delete(number);
  }
}

// --- masks

// Turn a mask into the lines between its pixels and all others, joined where they run on.
function traced(region) {
  const { left, top, width, height, bits, segment } = region;
  const bytes = Uint8Array.from(atob(bits), (character) => character.charCodeAt(0));
  const stride = (width + 7) >> 3;
  const at = (x, y) =>
    x >= 0 && y >= 0 && x < width && y < height ? (bytes[y * stride + (x >> 3)] >> (7 - (x & 7))) & 1 : 0;
  const path = new Path2D();
  const line = (x0, y0, x1, y1) => {
    path.moveTo(left + x0, top + y0);
    path.lineTo(left + x1, top + y1);
  };
  for (let y = 0; y <= height; y += 1) {
    for (let x = 0, from = -1; x <= width; x += 1) {
      const edge = x < width && at(x, y) !== at(x, y - 1);
      if (edge && from < 0) from = x;
      if (!edge && from >= 0) {
        line(from, y, x, y);
        from = -1;
      }
    }
  }
  for (let x = 0; x <= width; x += 1) {
    for (let y = 0, from = -1; y <= height; y += 1) {
      const edge = y < height && at(x, y) !== at(x - 1, y);
      if (edge && from < 0) from = y;
      if (!edge && from >= 0) {
        line(x, from, x, y);
        from = -1;
      }
    }
  }
  return { segment, path };
}

// --- pixels

const sheet = document.createElement("canvas"); // one canvas pixel for each pixel of the image
let sheetOf = "";

function windowOf(about) {
  if (view.window) return view.window;
  if (about.window) return about.window;
  return about.units === "HU" ? [40, 400] : about.range;
}

// Apply the window (PS3.3 C.11.2.1.2.1, LINEAR) through a table of all stored numbers.
function table(about) {
  const [centre, width] = windowOf(about);
  const signed = about.kind === "i2";
  const size = about.kind === "u1" ? 256 : 65536;
  const lut = new Uint32Array(size);
  const low = centre - 0.5 - (width - 1) / 2;
  const span = Math.max(width - 1, 1e-6);
  for (let index = 0; index < size; index += 1) {
    const stored = signed && index >= 32768 ? index - 65536 : index;
    const share = Math.min(1, Math.max(0, (stored * about.slope + about.intercept - low) / span));
    const grey = Math.round((about.inverted ? 1 - share : share) * 255);
    lut[index] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return lut;
}

function paintSheet(number, slice) {
  const { about, pixels } = slice;
  const key = `${number}|${about.kind === "rgb" ? "" : windowOf(about)}`;
  if (key === sheetOf) return;
  sheet.width = about.columns;
  sheet.height = about.rows;
  const context = sheet.getContext("2d");
  const data = context.createImageData(about.columns, about.rows);
  const out = new Uint32Array(data.data.buffer);
  if (about.kind === "rgb") {
    for (let at = 0, from = 0; at < out.length; at += 1, from += 3)
      out[at] = 0xff000000 | (pixels[from + 2] << 16) | (pixels[from + 1] << 8) | pixels[from];
  } else {
    const lut = table(about);
    // A negative number finds its place at the end of the table.
    for (let at = 0; at < out.length; at += 1) out[at] = lut[pixels[at] & 0xffff];
  }
  context.putImageData(data, 0, 0);
  sheetOf = key;
}

// --- drawing

// Where image pixels lie on the screen, in CSS pixels: x = left + column * scaleX.
function place(about) {
  // What the result says stands below the image and hides nothing of it.
  const [clientWidth, clientHeight] = [screen.clientWidth, screen.clientHeight - $("said").offsetHeight];
  const fit = Math.min(clientWidth / about.columns, clientHeight / (about.rows * about.aspect));
  const scaleX = fit * view.zoom;
  const scaleY = scaleX * about.aspect;
  return {
    scaleX, scaleY,
    left: (clientWidth - about.columns * scaleX) / 2 + view.pan[0],
    top: (clientHeight - about.rows * scaleY) / 2 + view.pan[1],
  };
}

function ready(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(screen.clientWidth * ratio), Math.round(screen.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  return context;
}

function draw() {
  const slice = kept.get(view.shown);
  const onImage = ready(picture);
  const onLayer = ready(layer);
  if (!slice) return;
  const { about } = slice;
  // What can be chosen is known with the first image.
  if (!$("windows").children.length && about.kind !== "rgb") buildWindows(about.units === "HU");
  const at = place(about);
  paintSheet(view.shown, slice);
  // Far in, a reader wants to see the pixels that there are.
  onImage.imageSmoothingEnabled = at.scaleX < 6;
  onImage.imageSmoothingQuality = "high";
  onImage.drawImage(sheet, at.left, at.top, about.columns * at.scaleX, about.rows * at.scaleY);
  drawMarks(onLayer, slice, at);
  layer.hidden = !view.overlay;
  const [centre, width] = about.kind === "rgb" ? [] : windowOf(about);
  $("grey").textContent = about.kind === "rgb" ? "" : `W ${round(width)}  L ${round(centre)}${about.units ? ` ${about.units}` : ""}`;
  edges(about.edges);
}

const round = (value) => (Math.abs(value) >= 10 ? Math.round(value) : Number(value.toPrecision(3)));
const rgb = (colour, alpha = 1) => `rgb(${colour.join(" ")} / ${alpha})`;
const colourOfSegment = (number) =>
  view.scene.segments.find((segment) => segment.number === number)?.colour ?? DEFAULT_COLOUR;

// A dark line under each coloured one keeps it visible on any grey.
function stroke(context, path, { colour, width, dash = [] }) {
  context.setLineDash(dash);
  for (const [style, thick] of [["rgb(0 0 0 / .55)", width + 1.5], [rgb(colour), width]]) {
    context.strokeStyle = style;
    context.lineWidth = thick;
    context.stroke(path);
  }
}

function drawMarks(context, slice, at) {
  const matrix = new DOMMatrix([at.scaleX, 0, 0, at.scaleY, at.left, at.top]);
  context.lineJoin = "round";
  for (const region of slice.regions) {
    const path = new Path2D();
    path.addPath(region.path, matrix);
    const chosen = listed[view.mark]?.segment === region.segment && listed[view.mark]?.mark === undefined;
    stroke(context, path, { colour: colourOfSegment(region.segment), width: chosen ? 3 : 2 });
  }
  let labels = 0;
  listed.forEach((entry, index) => {
    for (const shape of entry.shapes) {
      if (shape.image !== view.shown) continue;
      const chosen = index === view.mark;
      const colour = entry.colour;
      const path = outline(shape, at);
      stroke(context, path, { colour, width: chosen ? 2.5 : 1.5, dash: entry.traced ? [4, 4] : [] });
      if (chosen || (labels += 1) <= LABELS_MAX) name(context, shape, at, { text: String(index + 1), colour, chosen });
    }
  });
}

const onScreen = (shape, at) =>
  Array.from({ length: shape.points.length >> 1 }, (_, index) => [
    at.left + shape.points[2 * index] * at.scaleX,
    at.top + shape.points[2 * index + 1] * at.scaleY,
  ]);

// Draw one graphic (PS3.3 C.18.6.1.1) in CSS pixels of the screen.
function outline(shape, at) {
  const path = new Path2D();
  const points = onScreen(shape, at);
  if (shape.kind === "POINT" || shape.kind === "MULTIPOINT") {
    for (const [x, y] of points) {
      path.moveTo(x - 6, y);
      path.lineTo(x + 6, y);
      path.moveTo(x, y - 6);
      path.lineTo(x, y + 6);
    }
  } else if (shape.kind === "CIRCLE") {
    const [[x0, y0, x1, y1]] = [shape.points];
    const radius = Math.hypot(x1 - x0, y1 - y0);
    path.ellipse(...points[0], radius * at.scaleX, radius * at.scaleY, 0, 0, 2 * Math.PI);
  } else if (shape.kind === "ELLIPSE") {
    // The ends of one axis, then of the other: an affine picture of the unit circle.
    const [a, b, c, d] = points;
    const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const ring = new Path2D();
    ring.arc(0, 0, 1, 0, 2 * Math.PI);
    path.addPath(ring, new DOMMatrix([b[0] - middle[0], b[1] - middle[1], d[0] - (c[0] + d[0]) / 2, d[1] - (c[1] + d[1]) / 2, ...middle]));
  } else {
    points.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
  }
  return path;
}

// Write a number beside the upper right end of a shape, inside the screen.
function name(context, shape, at, { text, colour, chosen }) {
  const points = onScreen(shape, at);
  const x = Math.min(Math.max(...points.map((point) => point[0])) + 4, screen.clientWidth - 24);
  const y = Math.max(Math.min(...points.map((point) => point[1])), 12);
  context.font = `${chosen ? 700 : 500} 13px system-ui, sans-serif`;
  context.setLineDash([]);
  context.lineWidth = 3;
  context.strokeStyle = "rgb(0 0 0 / .8)";
  context.strokeText(text, x, y);
  context.fillStyle = rgb(colour);
  context.fillText(text, x, y);
}

const OPPOSITE = { L: "R", R: "L", A: "P", P: "A", H: "F", F: "H" };

function edges([right, down] = []) {
  const opposite = (way) => [...way].map((letter) => OPPOSITE[letter] ?? "").join("");
  $("edge-right").textContent = right ?? "";
  $("edge-down").textContent = down ?? "";
  $("edge-left").textContent = right ? opposite(right) : "";
  $("edge-up").textContent = down ? opposite(down) : "";
}

// --- where the reader is

function message(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

// Show the wanted image if it is there; until it comes the former stays, under its own number.
function show() {
  const { images } = view.scene;
  const number = view.wanted;
  const gone = !images[number - 1].here;
  const fault = failed.get(number);
  if (!kept.has(number) && !fault && !gone) {
    label(`Image ${view.shown || number} of ${images.length} · loading ${number}…`);
    return;
  }
  view.shown = number;
  const { number: instance, along_mm: along } = images[number - 1];
  const own = instance !== null && instance !== number ? ` · number ${instance}` : "";
  label(`Image ${number} of ${images.length}${own}${along === null ? "" : ` · ${along.toFixed(1)} mm`}`);
  message(fault ?? (gone && !kept.has(number) ? "This image is no longer on the box." : ""));
  draw();
}

function label(text) {
  $("position").textContent = text;
}

function go(number) {
  const to = Math.min(view.scene.images.length, Math.max(1, number));
  if (to !== view.wanted) view.direction = Math.sign(to - view.wanted);
  view.wanted = to;
  $("slider").value = to;
  $("slider").setAttribute("aria-valuetext", `Image ${to} of ${view.scene.images.length}`);
  show();
  plan();
}

function jump(index) {
  if (!listed.length) return;
  view.mark = ((index % listed.length) + listed.length) % listed.length;
  const buttons = [...$("marks").querySelectorAll("button")];
  buttons.forEach((button, at) => {
    if (at === view.mark) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  buttons[view.mark].scrollIntoView({ block: "nearest" });
  if (listed[view.mark].image) go(listed[view.mark].image);
  draw();
}

function setOverlay(on) {
  view.overlay = on;
  layer.hidden = !on;
  $("toggle").setAttribute("aria-pressed", String(on));
  $("toggle").textContent = on ? "Overlay on" : "Overlay off";
}

// Zoom so that what lies under a point of the screen stays there.
function zoom(factor, ...from) {
  const to = Math.min(ZOOM_MAX, Math.max(1, view.zoom * factor));
  const middle = [screen.clientWidth / 2, (screen.clientHeight - $("said").offsetHeight) / 2];
  const [x, y] = from.length ? from : middle;
  view.pan = [x, y].map((at, axis) => (at - middle[axis]) * (1 - to / view.zoom) + (view.pan[axis] * to) / view.zoom);
  view.zoom = to;
  if (to === 1) view.pan = [0, 0];
  draw();
}

function fit() {
  view.zoom = 1;
  view.pan = [0, 0];
  draw();
}

function setWindow(preset, window) {
  view.window = window;
  view.preset = preset;
  for (const button of $("windows").children)
    button.setAttribute("aria-pressed", String(button.textContent === preset));
  draw();
}

// --- what is on the page

function buildList() {
  const { marks, segments } = view.scene;
  const ofMarks = marks.map((mark) => {
    const segment = segments.find((one) => one.number === mark.segment) ?? segments.find((one) => mark.label.startsWith(one.label) && one.label);
    const image = mark.shapes.find((shape) => shape.kind !== "POINT")?.image ?? mark.shapes[0]?.image ?? segment?.images[segment.images.length >> 1];
    return { ...mark, image, mark, colour: segment?.colour ?? DEFAULT_COLOUR, traced: Boolean(segment) };
  });
  // A segment that no group of the report speaks of is listed by itself.
  const told = new Set(ofMarks.map((entry) => entry.segment).filter((number) => number !== null));
  const alone = segments.filter((one) => one.images.length && !told.has(one.number) && !marks.some((mark) => mark.label.startsWith(one.label)));
  const ofSegments = alone.map((one) => ({
    label: one.label, finding: "", numbers: [], words: [], shapes: [], segment: one.number, colour: one.colour,
    image: one.images[one.images.length >> 1],
  }));
  listed = [...ofMarks, ...ofSegments];
  $("marks").replaceChildren(...listed.map(listItem));
  $("marks-none").hidden = listed.length > 0;
  const notes = [...view.scene.notes];
  if (view.scene.marks_left_out) notes.push(`${view.scene.marks_left_out} more marks are in the report and not shown here.`);
  $("notes").replaceChildren(...notes.map((text) => element("p", "note", text)));
}

function element(tag, css, text = "") {
  const made = document.createElement(tag);
  if (css) made.className = css;
  made.textContent = text;
  return made;
}

function listItem(entry, index) {
  const button = element("button", "");
  button.type = "button";
  const swatch = element("span", "swatch");
  swatch.style.background = rgb(entry.colour);
  const where = entry.image ? `image ${entry.image}` : "no image here";
  const numbers = [...entry.words, ...entry.numbers.map((one) => `${one.name} ${one.value}${one.unit ? ` ${one.unit}` : ""}`)];
  button.append(swatch, element("span", "", `${index + 1}. ${entry.label || entry.finding || "mark"}`), element("span", "at", where));
  if (numbers.length) button.append(element("span", "numbers", numbers.join(" · ")));
  button.addEventListener("click", () => jump(index));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function buildWindows(hounsfield) {
  const presets = [["Image", null], ["Range", "range"]];
  if (hounsfield) {
    const { centre, width } = root.dataset;
    if (width) presets.push(["Model's", [Number(centre), Number(width)]]);
    for (const one of view.scene.hu_presets) presets.push([one.name, [one.centre, one.width]]);
  }
  const buttons = presets.map(([text, window]) => {
    const button = element("button", "quiet", text);
    button.type = "button";
    button.setAttribute("aria-pressed", String(text === view.preset));
    if (Array.isArray(window)) button.title = `W ${window[1]} L ${window[0]}`;
    button.addEventListener("click", () => {
      const about = kept.get(view.shown)?.about;
      setWindow(text, window === "range" ? (about?.range ?? null) : window);
    });
    return button;
  });
  $("windows").replaceChildren(...buttons);
}

// --- hands

const KEYS = {
  ArrowDown: () => go(view.wanted + 1), ArrowRight: () => go(view.wanted + 1),
  ArrowUp: () => go(view.wanted - 1), ArrowLeft: () => go(view.wanted - 1),
  PageDown: () => go(view.wanted + PAGE), PageUp: () => go(view.wanted - PAGE),
  Home: () => go(1), End: () => go(view.scene.images.length),
  " ": () => setOverlay(!view.overlay), o: () => setOverlay(!view.overlay),
  n: () => jump(view.mark + 1), p: () => jump(view.mark < 0 ? -1 : view.mark - 1),
  "+": () => zoom(ZOOM_STEP), "=": () => zoom(ZOOM_STEP), "-": () => zoom(1 / ZOOM_STEP), 0: fit,
};

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || !view.scene?.images.length) return;
  // A focused button or link keeps its own Space.
  if (event.key === " " && event.target.closest("button, a, summary")) return;
  if (event.target.matches("textarea, select, input:not([type=range])")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (/^[1-9]$/.test(key)) {
    if (Number(key) <= listed.length) jump(Number(key) - 1);
  } else if (KEYS[key]) KEYS[key]();
  else return;
  event.preventDefault();
}

let rolled = 0;

function onWheel(event) {
  event.preventDefault();
  const box = screen.getBoundingClientRect();
  if (event.ctrlKey) {
    zoom(event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP, event.clientX - box.left, event.clientY - box.top);
    return;
  }
  // A touchpad sends many small steps, a wheel one large one; either moves one image at least.
  rolled += event.deltaMode === 0 ? event.deltaY / 40 : event.deltaY;
  const steps = Math.abs(event.deltaY) >= 40 || event.deltaMode !== 0 ? Math.sign(rolled) : Math.trunc(rolled);
  if (!steps) return;
  rolled = 0;
  go(view.wanted + steps);
}

function onDrag(event) {
  if (!(event.buttons & 1)) return;
  const about = kept.get(view.shown)?.about;
  if (event.shiftKey && about && about.kind !== "rgb") {
    const [centre, width] = windowOf(about);
    const speed = Math.max(width / 300, 0.01);
    setWindow("", [centre + event.movementY * speed, Math.max(1, width + event.movementX * speed)]);
  } else if (view.zoom > 1) {
    view.pan = [view.pan[0] + event.movementX, view.pan[1] + event.movementY];
    draw();
  }
}

function listen() {
  document.addEventListener("keydown", onKey);
  screen.addEventListener("wheel", onWheel, { passive: false });
  screen.addEventListener("pointerdown", (event) => screen.setPointerCapture(event.pointerId));
  screen.addEventListener("pointermove", onDrag);
  screen.addEventListener("dblclick", fit);
  $("slider").addEventListener("input", (event) => go(Number(event.target.value)));
  $("toggle").addEventListener("click", () => setOverlay(!view.overlay));
  $("smaller").addEventListener("click", () => zoom(1 / ZOOM_STEP));
  $("larger").addEventListener("click", () => zoom(ZOOM_STEP));
  $("fit").addEventListener("click", fit);
  new ResizeObserver(() => draw()).observe(screen);
  // A page that the browser brings back from memory may be of somebody who logged out.
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
}

async function begin() {
  try {
    view.scene = await (await askPatiently("")).json();
  } catch (error) {
    label("");
    message(told(error));
    return;
  }
  buildList();
  const total = view.scene.images.length;
  if (!total) {
    label("No image");
    message("No image belongs to this result, or the box does not know it any more.");
    return;
  }
  const slider = $("slider");
  slider.max = total;
  slider.disabled = total === 1;
  view.wanted = view.scene.first;
  const key = listed.findIndex((entry) => entry.image === view.wanted);
  listen();
  if (key >= 0) jump(key);
  go(view.wanted);
}

begin();
