// Open series after series of a PACS in the OHIF viewer, in a headless browser, and write down what is seen.
//
// usage: node browse.mjs PLAN.json       The plan is written by tests/viewers/browser.py.
// For each step NAME of the plan: NAME.json (what was seen, see `look`), NAME.png (the whole page), and
// NAME-canvas.png (the image area alone, without the shapes on it). It judges nothing.
// Steps of one study share a page, as a reader opens one series after another; a step that loads something into
// the viewer has a page of its own.

import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { chromium } = createRequire(import.meta.url)(plan.playwright);

const LOAD_MS_MAX = 120_000;
const APPEAR_MS_MAX = 60_000;
const TOUCH_AFTER_MS = 6_000;
const CLICK_MS_MAX = 60_000;
const LOOK_EVERY_MS = 250;
// Of the whole screen; a printed page in its pane takes a quarter and more.
const SHEET_SHARE_MIN = 0.1;
const CALM_LOOKS = 4;

// Runs in the page. `world` holds where three points of the canvas lie in the patient, in mm, as the viewer
// itself maps them: (0, 0), (100, 0) and (0, 100) in CSS pixels.
function look() {
  const seen = { text: document.body.innerText, shapes: [], page: null, world: null, image: null, canvas: null };
  seen.toasts = [...document.querySelectorAll("[data-sonner-toast]")].map((one) => one.innerText);
  const { displaySetService, viewportGridService, measurementService, segmentationService } = window.services ?? {};
  const set = (uid) => displaySetService.getDisplaySetByUID(uid);
  const { viewports, activeViewportId } = viewportGridService?.getState() ?? {};
  seen.series = (viewports?.get(activeViewportId)?.displaySetInstanceUIDs ?? []).map((uid) => set(uid)?.SeriesInstanceUID);
  seen.warned = Object.fromEntries((displaySetService?.getActiveDisplaySets() ?? [])
    .map((one) => [one.SeriesInstanceUID, (one.messages?.messages ?? []).map((message) => message.id)]));
  seen.measured = measurementService?.getMeasurements().length ?? 0;
  seen.segments = (segmentationService?.getSegmentations() ?? [])
    .flatMap((one) => Object.values(one.segments).map((segment) => segment.label));
  seen.document = document.querySelector("object[data]")?.data ?? null;
  const drawn = ["circle", "ellipse", "line", "path", "polyline", "polygon", "rect"];
  const layer = document.querySelector("svg.svg-layer");
  if (layer) {
    const from = layer.getBoundingClientRect();
    for (const one of layer.querySelectorAll(drawn.join(","))) {
      const at = one.getBoundingClientRect();
      // Markers and filters are defined in the layer as well, but have no size on the screen.
      if (at.width + at.height > 1 && !one.closest("defs"))
        seen.shapes.push({
          kind: one.tagName,
          left: at.left - from.left, top: at.top - from.top,
          right: at.right - from.left, bottom: at.bottom - from.top,
        });
    }
    seen.words = [...layer.querySelectorAll("text")].map((one) => one.textContent);
  }
  seen.asked = [...document.querySelectorAll("button")].some((one) => one.innerText === "Yes");
  const pane = document.querySelector('[data-cy="viewport-pane"]');
  seen.page = pane ? pane.innerText : null;
  const shown = window.cornerstone?.getEnabledElements?.()[0]?.viewport;
  if (shown) {
    try {
      seen.world = [[0, 0], [100, 0], [0, 100]].map((point) => [...shown.canvasToWorld(point)]);
      seen.image = shown.getCurrentImageId?.() ?? null;
      seen.canvas = shown.getCanvas().toDataURL("image/png");
      seen.size = [shown.element.clientWidth, shown.element.clientHeight];
    } catch (error) {
      seen.trouble = String(error);
    }
  }
  return seen;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Look until what was hoped for is there and has stopped moving; after APPEAR_MS_MAX take what there is.
async function lookUntil(page, hoped, ms = APPEAR_MS_MAX) {
  const end = Date.now() + ms;
  let [last, calm, seen] = ["", 0, null];
  while (Date.now() < end && calm < CALM_LOOKS) {
    seen = await page.evaluate(look);
    const now = JSON.stringify(seen);
    calm = now === last && hoped(seen) ? calm + 1 : 0;
    last = now;
    await pause(LOOK_EVERY_MS);
  }
  return seen;
}

// The viewer at times has a shape but does not draw it before the image is drawn again (seen in one of three
// openings of a point). Do what a reader does: scroll one image on and back.
async function touchIfBare(page, hoped) {
  if (hoped(await lookUntil(page, hoped, TOUCH_AFTER_MS))) return false;
  const box = await page.locator("canvas").first().boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  for (const way of [100, -100]) {
    await page.mouse.wheel(0, way);
    await lookUntil(page, () => true, TOUCH_AFTER_MS);
  }
  return true;
}

async function load(page, study_uid) {
  await page.goto(`${plan.base}/viewer?StudyInstanceUIDs=${study_uid}`, { timeout: LOAD_MS_MAX });
  await page.locator("canvas").first().waitFor({ timeout: LOAD_MS_MAX });
  await lookUntil(page, (seen) => seen.image !== null);
}

async function open(page, step) {
  const numbered = `[data-cy^="study-browser-thumbnail"][data-series="${step.series_number}"]`;
  const thumbnail = page.locator(numbered).filter({ hasText: step.series }).first();
  await thumbnail.waitFor({ timeout: LOAD_MS_MAX });
  await thumbnail.scrollIntoViewIfNeeded();
  await thumbnail.dblclick({ timeout: CLICK_MS_MAX });
}

const yes = (page) => page.getByRole("button", { name: "Yes", exact: true }).first();

const listed = (seen) => !seen.asked && /Measurements \(\d+\)|Segmentations/.test(seen.text);

const HOPES = {
  shapes: () => (seen) => seen.shapes.length > 0,
  page: (step) => (seen) => (seen.page ?? "").includes(step.words),
  image: () => (seen) => seen.image !== null,
  prompt: () => (seen) => seen.asked,
  document: () => (seen) => seen.document !== null,
  refused: () => () => false,
  warned: (step) => (seen) => (seen.warned[step.series_uid] ?? []).length > 0,
};

async function walk(page, step, said) {
  await open(page, step);
  const wanted = HOPES[step.hope](step);
  const refused = () => said.some((line) => line.includes(step.words));
  const shown = (seen) => wanted(seen) && (step.hope === "warned" || seen.series.includes(step.series_uid));
  const hoped = step.hope === "refused" ? refused : shown;
  const seen = { touched: step.hope === "shapes" && (await touchIfBare(page, hoped)) };
  seen.open = await lookUntil(page, hoped);
  if (step.hope === "document") await sheet(page);
  await keep(page, step.name, seen.open);
  if (step.panel) {
    await yes(page).click({ timeout: CLICK_MS_MAX });
    await lookUntil(page, () => true);
    const tab = page.locator(`[data-cy^="${step.panel}"][data-cy$="-btn"]`).first();
    if (await tab.count()) await tab.click({ timeout: CLICK_MS_MAX });
    seen.loaded = await lookUntil(page, listed);
    await keep(page, `${step.name}-loaded`, seen.loaded);
  }
  return seen;
}

// The browser draws a PDF in a frame of its own, which cannot be asked: what is on the screen tells when it is
// there (a white sheet) and finished (it does not change any more).
async function sheet(page) {
  const until = Date.now() + LOAD_MS_MAX;
  let before = "";
  while (Date.now() < until) {
    const shot = (await page.screenshot()).toString("base64");
    if (shot === before && (await page.evaluate(whiteShare, shot)) > SHEET_SHARE_MIN) return;
    before = shot;
    await pause(LOOK_EVERY_MS);
  }
}

async function whiteShare(shot) {
  const image = new Image();
  image.src = `data:image/png;base64,${shot}`;
  await image.decode();
  const drawn = new OffscreenCanvas(image.width, image.height).getContext("2d");
  drawn.drawImage(image, 0, 0);
  const { data } = drawn.getImageData(0, 0, image.width, image.height);
  let white = 0;
  for (let at = 0; at < data.length; at += 4) white += Math.min(data[at], data[at + 1], data[at + 2]) > 240;
  return (4 * white) / data.length;
}

async function keep(page, name, seen) {
  await page.screenshot({ path: join(plan.out, `${name}.png`) });
  if (seen.canvas) writeFileSync(join(plan.out, `${name}-canvas.png`), Buffer.from(seen.canvas.split(",")[1], "base64"));
  delete seen.canvas;
}

const quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const software = ["--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"];
const context = await chromium.launchPersistentContext(plan.profile, {
  executablePath: plan.chromium, headless: true, viewport: { width: 1400, height: 850 }, args: [...quiet, ...software],
});
// The viewer greets a new reader with a tour that takes every click.
await context.addInitScript(() => localStorage.setItem("shownTours", '["basicViewerTour"]'));
for (const group of plan.groups) {
  const page = await context.newPage();
  let said = [];
  page.on("pageerror", (error) => said.push(error.message));
  page.on("console", (line) => line.type() === "error" && said.push(line.text()));
  let loaded = false;
  for (const step of group) {
    let seen = {};
    said = [];
    const start = Date.now();
    try {
      if (!loaded) await load(page, step.study_uid);
      loaded = true;
      seen.ready = (Date.now() - start) / 1000;
      seen = { ...seen, ...(await walk(page, step, said)) };
    } catch (error) {
      seen.fault = error.message;
      loaded = false;
      await page.screenshot({ path: join(plan.out, `${step.name}-fault.png`) }).catch(() => {});
    }
    seen.said = said;
    seen.seconds = (Date.now() - start) / 1000;
    writeFileSync(join(plan.out, `${step.name}.json`), JSON.stringify(seen, null, 1));
  }
  await page.close();
}
await context.close();
