// Draws the figure of the latest message into a persistent element (see live_chart.py).

const STYLE = `
.live-chart { height: 100%; overflow: hidden }
.live-chart image { image-rendering: pixelated }
.live-chart:not(:has(svg))::before { content: attr(data-problem); display: block; padding: 1rem; height: 100%; border-radius: .5rem;
  background: var(--st-secondary-background-color); opacity: .6 }
.live-chart-player { position: absolute; inset: auto 0 0; display: flex; flex-wrap: wrap; align-items: center; gap: .3rem 1rem; font-size: .87rem }
.live-chart-player button { font: inherit; color: inherit; min-height: 40px; min-width: 6rem; border: 1px solid var(--line);
  border-radius: 6px; background: none; cursor: pointer }
.live-chart-player input { flex: 1 1 9rem; height: 40px; margin: 0; accent-color: var(--accent); cursor: pointer }
.live-chart-player span { flex: 0 0 12rem }
.live-chart-player :focus-visible, .live-chart .plotly .modebar-group .modebar-btn:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
@media (max-width: 767px) { .live-chart .modebar-container { display: none } }`;

const TOOLS = ["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"];

const MOST_SELECTED = 1000;
const MOST_PICTURES = 60; // of dots in view, from which each has its picture
const PICTURE = 32; // pixels
const ABOVE = 5; // pixels from a dot to its picture

let plotly; // loaded once, by the first chart

function loadPlotly() {
  const address = new URL(new URL(import.meta.url).searchParams.get("plotly"), import.meta.url);
  plotly ??= fetch(address, { cache: "force-cache" }) // the URL contains the version
    .then((answer) => (answer.ok ? answer.blob() : Promise.reject(answer.status)))
    .then((code) => run(URL.createObjectURL(new Blob([code], { type: "text/javascript" }))))
    .catch((problem) => {
      plotly = undefined; // retry with the next message
      throw problem;
    });
  return plotly;
}

function run(address) {
  return new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: address, onerror: reject });
    script.onload = () => resolve(window.Plotly);
    document.head.append(script);
  });
}

function mount(parent) {
  if (!document.getElementById("live-chart-style")) {
    document.head.append(Object.assign(document.createElement("style"), { id: "live-chart-style", textContent: STYLE }));
  }
  const chart = Object.assign(document.createElement("div"), { className: "live-chart", role: "figure" });
  parent.append(chart);
  return chart;
}

function themed(layout, parent) {
  const theme = getComputedStyle(parent);
  const font = { color: theme.getPropertyValue("--st-text-color"), family: theme.getPropertyValue("--st-font") };
  const hoverlabel = {
    bgcolor: theme.getPropertyValue("--st-secondary-background-color"),
    bordercolor: theme.getPropertyValue("--st-border-color"),
    font: { color: font.color }, // default: the border color
  };
  const modebar = { bgcolor: "rgba(0,0,0,0)", color: font.color, activecolor: theme.getPropertyValue("--st-primary-color") };
  return { ...layout, font: { ...layout.font, ...font }, hoverlabel: { ...hoverlabel, ...layout.hoverlabel }, modebar };
}

function merged(whole, part) {
  if (!part || typeof part !== "object") return part ?? whole;
  const joined = Array.isArray(whole) ? [...whole] : { ...whole };
  for (const [name, value] of Object.entries(part)) joined[name] = merged(joined[name], value);
  return joined;
}

async function draw(chart, Plotly) {
  const { figure, about } = chart.message;
  chart.narrow = isPhone();
  const layout = themed(chart.narrow ? merged(figure.layout, figure.layout.meta?.narrow) : figure.layout, chart.parentElement);
  if (chart.narrow) layout.dragmode = false; // touch scrolls the page
  const config = { displaylogo: false, modeBarButtons: [TOOLS], ...about.config };
  chart.drawing = true; // ignore Plotly's selection events while drawing
  const isDark = getComputedStyle(chart.parentElement).colorScheme === "dark";
  const data = isDark ? figure.data.map((trace) => merged(trace, trace.meta?.dark)) : figure.data;
  await Plotly.react(chart, { data, layout, frames: figure.frames, config });
  chart.drawing = false;
  chart.querySelectorAll("svg.main-svg").forEach((svg) => (svg.ariaHidden = "true")); // the label describes the chart
  await showPictures(chart, Plotly);
  showPlayer(chart, Plotly);
}

// A button and a slider for the frames of a figure; Plotly's own cannot be reached by keyboard

function showPlayer(chart, Plotly) {
  const { frames, layout } = chart.message.figure;
  chart.player?.remove();
  if (!frames?.length) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const make = (name, values) => Object.assign(document.createElement(name), values);
  const button = make("button", { type: "button", hidden: still });
  const slider = make("input", { type: "range", min: 0, max: frames.length - 1, value: frames.length - 1, ariaLabel: "Epoch" });
  const words = make("span", {});
  const say = (place) => (slider.value = place, words.textContent = slider.ariaValueText = layout.meta.moments[place]);
  const playing = (plays) => (chart.plays = plays, button.textContent = plays ? "❚❚ Pause" : "▶ Play");
  const pause = () => (playing(false), Plotly.animate(chart, [null], { mode: "immediate" }).catch(() => {}));
  const go = (names, frame, transition) => {
    const options = { mode: "immediate", frame: { duration: frame, redraw: false }, transition: { duration: transition } };
    return Plotly.animate(chart, names, options).catch(() => {}); // rejected if another one interrupts it
  };
  button.onclick = () => chart.plays ? pause() : (playing(true), go(null, 260, 220));
  slider.oninput = () => (playing(false), say(slider.value), go([frames[slider.value].name], 0, still ? 0 : 120));
  chart.moved = (name) => chart.plays && say(frames.findIndex((frame) => frame.name === name));
  chart.stopped = () => playing(false);
  playing(false);
  say(frames.length - 1);
  chart.player = make("div", { className: "live-chart-player" });
  chart.player.append(button, slider, words);
  chart.after(chart.player);
}

// Pictures above the dots in view, cut out of an image of all pictures

async function showPictures(chart, Plotly) {
  const { sheet } = chart.message.about;
  const whole = sheet && document.querySelector(`.st-key-${sheet.key} img`);
  if (!whole) return;
  const { xaxis, yaxis } = chart._fullLayout;
  const isIn = ({ range: [low, high] }, value) => low < value && value < high;
  const step = ({ range: [low, high], _length }) => (high - low) / _length; // of one pixel
  const dots = chart._fullData
    .filter(({ visible }) => visible === true)
    .flatMap(({ x, y, customdata }) => customdata.map((number, i) => ({ number, x: x[i], y: y[i] })))
    .filter(({ x, y }) => isIn(xaxis, x) && isIn(yaxis, y));
  const shown = dots.length > MOST_PICTURES ? [] : dots;
  if (!shown.length && !chart.layout.images?.length) return;
  await whole.decode();
  const place = { xref: "x", yref: "y", xanchor: "center", yanchor: "bottom" };
  const size = { sizex: PICTURE * step(xaxis), sizey: PICTURE * step(yaxis) };
  const images = shown.map(({ number, x, y }) => {
    return { source: cut(whole, sheet.numbers.indexOf(number)), x, y: y + ABOVE * step(yaxis), ...place, ...size };
  });
  await Plotly.relayout(chart, { images });
}

function cut(whole, place) {
  const columns = whole.naturalWidth / PICTURE;
  const canvas = Object.assign(document.createElement("canvas"), { width: PICTURE, height: PICTURE });
  const left = PICTURE * (place % columns);
  canvas.getContext("2d").drawImage(whole, -left, -PICTURE * Math.floor(place / columns));
  return canvas.toDataURL();
}

function linked(chart) {
  const key = chart.message.about.sheet?.key;
  return [...document.querySelectorAll(".live-chart")].filter((other) => {
    return key && other !== chart && other.observer && other.message.about.sheet?.key === key;
  });
}

function isPhone() {
  return matchMedia("(max-width: 767px)").matches;
}

function begin(chart, Plotly) {
  chart.on("plotly_click", ({ points }) => {
    const point = points.find(({ customdata }) => Number.isInteger(customdata));
    if (point && !chart.message.about.selects) chart.clicked(point.customdata);
  });
  const select = (points = []) => {
    if (!chart.message.about.selects || chart.drawing) return;
    chart.selected(points.map(({ customdata }) => customdata).filter(Number.isInteger).slice(0, MOST_SELECTED));
  };
  chart.on("plotly_selected", (event) => select(event?.points));
  chart.on("plotly_deselect", () => select());
  chart.on("plotly_relayout", (changed) => "images" in changed || showPictures(chart, Plotly));
  chart.on("plotly_hover", ({ event, points }) => {
    const same = points.map(({ curveNumber, pointNumber }) => ({ curveNumber, pointNumber }));
    if (event instanceof Event) linked(chart).forEach((other) => Plotly.Fx.hover(other, same)); // not by another chart
  });
  chart.on("plotly_animatingframe", ({ name }) => chart.moved(name));
  chart.on("plotly_animated", () => chart.stopped());
  chart.on("plotly_unhover", () => linked(chart).forEach((other) => Plotly.Fx.hover(other, [])));
  chart.observer = new ResizeObserver(() => {
    if (chart.offsetWidth) chart.narrow === isPhone() ? Plotly.Plots.resize(chart) : draw(chart, Plotly);
  });
  chart.observer.observe(chart);
  chart.end = () => {
    chart.observer.disconnect();
    Plotly.purge(chart);
  };
}

export default async function ({ data, parentElement, setTriggerValue }) {
  const chart = parentElement.querySelector(".live-chart") ?? mount(parentElement);
  const text = new TextDecoder().decode(data);
  const theme = getComputedStyle(parentElement).getPropertyValue("--st-text-color");
  chart.clicked = (value) => setTriggerValue("clicked", value);
  chart.selected = (numbers) => setTriggerValue("selected", numbers);
  const end = () => setTimeout(() => chart.isConnected || chart.end?.()); // also called when a newer message overtakes
  if (chart.drawn === text + theme) return end; // polled without a change
  chart.drawn = text + theme;
  chart.message = JSON.parse(text);
  chart.ariaLabel = chart.message.about.alt;
  const Plotly = await loadPlotly().catch(() => {
    chart.dataset.problem = "The code that draws charts could not be loaded; reload the page.";
    chart.drawn = undefined;
  });
  if (!Plotly || !chart.isConnected) return end;
  await draw(chart, Plotly);
  if (!chart.observer) begin(chart, Plotly);
  return end;
}
