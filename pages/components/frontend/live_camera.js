// Classifies camera frames in the browser; sends a picture when "Keep this one" is pressed.
function build(parent) {
    const video = make("video", { muted: true, playsInline: true });
    const answer = make("h3", { textContent: "Starting the camera" });
    const list = make("ol", {});
    const keep = make("button", { textContent: "Keep this one" });
    const flip = make("button", { textContent: "Front or rear" });
    const note = make("p", {});
    const box = make("div", { className: "live-camera camera" }, video,
        make("div", {}, answer, list, make("div", { className: "row" }, keep, flip), note));
    parent.append(box);
    return Object.assign(box, { video, answer, list, keep, flip, note, facing: "user", asked: 0, waiting: new Map() });
}

// Starts a web worker with the network.
function start(box, { network, weights }) {
    box.worker?.terminate();
    box.waiting.clear();
    box.worker = new Worker(URL.createObjectURL(new Blob([NETWORK], { type: "text/javascript" })));
    const bytes = Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0)).buffer;
    box.worker.postMessage({ model: network, bytes }, [bytes]);
    box.worker.onmessage = ({ data: { id, probabilities } }) => {
        box.waiting.get(id)?.(probabilities[0]);
        box.waiting.delete(id);
    };
}

const classify = (box, pixels) => new Promise((resolve) => {
    box.waiting.set(++box.asked, resolve);
    box.worker.postMessage({ id: box.asked, images: [pixels] });
});

function draw(box, probabilities, { classes, top }) {
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, top);
    const share = (label) => `${(100 * probabilities[label]).toFixed(1)}%`;
    box.answer.textContent = `${classes[order[0]]}, ${share(order[0])}`;
    box.list.replaceChildren(...order.map((label) => {
        const bar = make("i", {});
        bar.style.width = share(label);
        return make("li", {}, make("span", { textContent: classes[label] }), make("div", {}, bar), make("span", { textContent: share(label) }));
    }));
}

async function watch(box) {
    const own = await openCamera(box, 1280);
    if (own === null) box.answer.textContent = "No camera";
    if (!own) return;
    const { video, note } = box;
    video.className = box.facing === "user" ? "front" : "";
    for (let count = 0, since = performance.now(); box.stream === own; count++) {
        const probabilities = await classify(box, prepared(square(video, video.videoWidth, video.videoHeight, 320), box.data.side));
        draw(box, probabilities, box.data);
        const seconds = (performance.now() - since) / 1000;
        if (seconds > 1) {
            note.textContent = `${Math.round((count + 1) / seconds)} pictures a second, computed in this browser. Nothing is sent.`;
            [count, since] = [-1, performance.now()];
        }
        await new Promise(requestAnimationFrame);
    }
}

const asUrl = (blob) => new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(blob);
});

export default function ({ data, parentElement, setTriggerValue }) {
    const known = parentElement.querySelector(".live-camera");
    const box = known ?? build(parentElement);
    const model = box.data?.name;
    box.data = data;
    if (!known || model !== data.name) {
        start(box, data.model);
        watch(box);
    }
    box.flip.onclick = () => {
        turn(box);
        watch(box);
    };
    box.keep.onclick = async () => {
        if (!box.stream) return;
        const picture = square(box.video, box.video.videoWidth, box.video.videoHeight);
        setTriggerValue("picture", await asUrl(await picture.convertToBlob({ type: "image/jpeg", quality: 0.92 })));
    };
    return () => setTimeout(() => {
        if (box.isConnected) return; // redrawn, not removed
        closeCamera(box);
        box.worker.terminate();
    });
}
