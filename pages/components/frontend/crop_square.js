const HELP = "Crop of the photo. Arrow keys move it, plus and minus resize it.";
const within = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));

function build(parent) {
    const crop = Object.assign(document.createElement("div"), { className: "crop" });
    const square = Object.assign(document.createElement("button"), { className: "square", ariaLabel: HELP });
    square.append(document.createElement("i"));
    crop.append(new Image(), square);
    parent.append(crop);
    return crop;
}

export default function({ data, parentElement, setTriggerValue }) {
    const crop = parentElement.querySelector(".crop") ?? build(parentElement);
    const [image, square] = crop.children;
    Object.assign(image, { src: data.image, alt: data.alt });
    crop.style.aspectRatio = data.ratio;
    crop.style.width = `min(100%, ${26 * data.ratio}rem)`;
    square.hidden = !data.square;
    if (!data.square || crop.grip || crop.later) return;  // while the user moves it, an older place comes too late
    const [across, down] = data.shares;  // largest square as shares of width and height
    let [x, y, side] = data.square;
    const put = (left, top, size) => {
        side = within(size, 0.05, 1);
        x = within(left, 0, 1 - side * across);
        y = within(top, 0, 1 - side * down);
        const place = { left: x, top: y, width: side * across, height: side * down };
        for (const [name, share] of Object.entries(place)) square.style[name] = `${100 * share}%`;
    };
    const send = () => setTriggerValue("square", [x, y, side]);
    put(x, y, side);
    square.onpointerdown = (event) => {
        square.setPointerCapture(event.pointerId);
        crop.grip = { left: x, top: y, side, from: event, resizes: event.target !== square };
    };
    square.onpointermove = (event) => {
        if (!crop.grip) return;
        const { left, top, side: size, from, resizes } = crop.grip;
        const box = crop.getBoundingClientRect();
        const right = (event.clientX - from.clientX) / box.width;
        const below = (event.clientY - from.clientY) / box.height;
        if (resizes) put(left, top, within(size + Math.max(right / across, below / down), 0.05,
            Math.min((1 - left) / across, (1 - top) / down)));
        else put(left + right, top + below, size);
    };
    square.onlostpointercapture = () => {
        crop.grip = undefined;
        send();
    };
    square.onkeydown = (event) => {
        const step = event.shiftKey ? 0.1 : 0.02;
        const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
        const grows = { "+": step, "=": step, "-": -step };
        const [right, below] = moves[event.key] ?? [0, 0], grown = grows[event.key] ?? 0;
        if (!(event.key in moves) && !grown) return;
        event.preventDefault();
        put(x + right - grown * across / 2, y + below - grown * down / 2, side + grown);
        clearTimeout(crop.later);
        crop.later = setTimeout(() => {
            crop.later = undefined;
            send();
        }, 250);
    };
}
