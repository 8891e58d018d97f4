const model = JSON.parse(document.getElementById("model").textContent);
const one = (id) => document.getElementById(id);
const SIDE = model.side; // of the network input, in pixels
const PATCH = SIDE / 4;
const STEP = SIDE / 8; // stride of the covering patch

// The network, in a Worker

const code = new Blob([one("worker").textContent], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(code));
const bytes = Uint8Array.from(atob(one("weights").textContent.trim()), (letter) => letter.charCodeAt(0)).buffer;
const waiting = new Map();
worker.postMessage({ model: model.network, bytes }, [bytes]);
worker.onmessage = ({ data: { id, probabilities } }) => {
  waiting.get(id)(probabilities);
  waiting.delete(id);
};

let requests = 0;
window.classify = (images) =>
  new Promise((resolve) => {
    waiting.set(++requests, resolve);
    worker.postMessage({ id: requests, images });
  });

window.prepare = (canvas) => prepared(canvas, SIDE);

// Results

let shown; // {canvas, pixels, label} of the latest prediction
const bars = model.classes.map((name) => {
  const row = one("bars").appendChild(document.createElement("li"));
  const parts = ["span", "div", "b"].map((tag) => row.appendChild(document.createElement(tag)));
  parts[0].textContent = name;
  parts[1].append(document.createElement("i"));
  return { row, bar: parts[1].firstChild, share: parts[2] };
});

function percent(share) {
  return share > 0.99 && share < 1 ? "over 99%" : `${(100 * share).toFixed(1)}%`;
}

async function show(canvas) {
  const pixels = prepare(canvas);
  const [probabilities] = await classify([pixels]);
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  order.forEach((label, place) => {
    bars[label].row.style.order = place;
    bars[label].bar.style.width = `${100 * probabilities[label]}%`;
    bars[label].share.textContent = percent(probabilities[label]);
  });
  shown = { canvas, pixels, label: order[0] };
  one("answer").textContent = `${model.classes[order[0]]}, ${percent(probabilities[order[0]])}`;
  paint("photo", canvas);
  const seen = new ImageData(SIDE, SIDE);
  seen.data.fill(255);
  pixels.forEach((value, i) => (seen.data[4 * Math.floor(i / 3) + (i % 3)] = value));
  one("seen").width = one("seen").height = SIDE;
  one("seen").getContext("2d").putImageData(seen, 0, 0);
  one("result").hidden = false;
  one("note").textContent = "";
}

function paint(id, source) {
  const canvas = one(id);
  canvas.width = canvas.height = 320;
  canvas.getContext("2d").drawImage(source, 0, 0, 320, 320);
}

async function open(file) {
  try {
    const picture = await createImageBitmap(file);
    await show(square(picture, picture.width, picture.height));
  } catch {
    one("note").textContent = `“${file.name}” is not a picture that this browser can read. Use a JPEG or PNG file.`;
  }
}

// Saliency by occlusion: a patch of the mean color slides over the picture (Zeiler & Fergus 2014)

async function explain() {
  const { canvas, pixels, label } = shown;
  one("why").disabled = true;
  const mean = [0, 1, 2].map((c) => pixels.reduce((sum, value, i) => sum + (i % 3 === c ? value : 0), 0) / SIDE ** 2);
  const starts = Array.from({ length: SIDE / STEP + 1 }, (_, i) => i * STEP - STEP);
  const places = starts.flatMap((top) => starts.map((left) => [top, left]));
  const odds = (p) => Math.log(Math.max(p, 1e-6) / Math.max(1 - p, 1e-6));
  const whole = odds((await classify([pixels]))[0][label]);
  const fall = new Float32Array(SIDE * SIDE);
  const times = new Float32Array(SIDE * SIDE);
  for (const [number, [top, left]] of places.entries()) {
    const covered = pixels.slice();
    const inside = [];
    for (let i = Math.max(top, 0); i < Math.min(top + PATCH, SIDE); i++)
      for (let j = Math.max(left, 0); j < Math.min(left + PATCH, SIDE); j++) inside.push(i * SIDE + j);
    for (const at of inside) mean.forEach((value, c) => (covered[3 * at + c] = value));
    const less = whole - odds((await classify([covered]))[0][label]);
    for (const at of inside) [fall[at], times[at]] = [fall[at] + less, times[at] + 1];
    one("note").textContent = `${Math.round((100 * (number + 1)) / places.length)}% of the places covered`;
    if (shown.pixels !== pixels) break; // a newer picture is shown
  }
  one("why").disabled = false;
  if (shown.pixels !== pixels) return;
  const heat = fall.map((value, i) => value / times[i]);
  const most = Math.max(...heat.map(Math.abs), 1e-9);
  const layer = new ImageData(SIDE, SIDE);
  heat.forEach((value, i) => layer.data.set([...(value > 0 ? [232, 135, 30] : [142, 95, 192]), (190 * Math.abs(value)) / most], 4 * i));
  const small = new OffscreenCanvas(SIDE, SIDE);
  small.getContext("2d").putImageData(layer, 0, 0);
  paint("photo", canvas);
  one("photo").getContext("2d").imageSmoothingQuality = "high";
  one("photo").getContext("2d").drawImage(small, 0, 0, 320, 320);
  one("note").textContent = `Orange parts are evidence for ${model.classes[label]}, violet parts are evidence against it.`;
}

// The camera

let stream;
async function camera(on) {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  if (!on) return;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: one("facing").value } });
  } catch (problem) {
    one("camera").checked = false;
    one("note").textContent = `The camera cannot be used (${problem.name}). Allow it in the browser, or open a photo.`;
    return;
  }
  const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  const own = stream;
  while (stream === own) {
    await show(square(video, video.videoWidth, video.videoHeight, 320));
    await new Promise(requestAnimationFrame);
  }
}

one("file").onchange = ({ target }) => target.files[0] && open(target.files[0]);
one("camera").onchange = ({ target }) => camera(target.checked);
one("facing").onchange = () => one("camera").checked && camera(true);
one("why").onclick = explain;
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
};
document.onpaste = ({ clipboardData }) => clipboardData.files[0] && open(clipboardData.files[0]);

document.title = model.title;
one("title").textContent = model.title;
one("size").textContent = `${SIDE}×${SIDE} pixels`;
for (const [name, value] of Object.entries(model.card)) {
  const row = one("card").insertRow();
  row.appendChild(document.createElement("th")).textContent = name;
  row.insertCell().textContent = value;
}
