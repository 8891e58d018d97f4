const read = blob => new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
});
const scaled = async (file, side) => {
    const picture = await createImageBitmap(file);
    const factor = Math.min(1, side / Math.max(picture.width, picture.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(picture.width * factor));
    canvas.height = Math.max(1, Math.round(picture.height * factor));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    picture.close();
    const probe = document.createElement("canvas").getContext("2d");
    probe.drawImage(canvas, 0, 0, 64, 64);
    const opaque = probe.getImageData(0, 0, 64, 64).data.every((value, at) => at % 4 < 3 || value === 255);
    return new Promise(done => canvas.toBlob(done, opaque ? "image/jpeg" : "image/webp", 0.95));  // JPEG encodes faster
};
const fitted = async (file, most) => {
    if (file.size <= most) return { name: file.name, data: await read(file) };
    for (const side of [2048, 1024, 512, 256]) {
        try {
            const blob = await scaled(file, side);
            if (blob && blob.size <= most) return { name: file.name, data: await read(blob) };
        } catch { break; }
    }
    return { name: file.name, bytes: file.size };
};
export default function({ parentElement, setTriggerValue }) {
    parentElement.forget?.();  // the listener of an earlier message: Streamlit ends only the last
    const take = async event => {
        const field = event.composedPath()[0];
        if (field.closest?.("input, textarea, [contenteditable=true]")) return;
        const files = [...(event.clipboardData?.files ?? [])];
        if (!files.length) return;
        event.preventDefault();
        const found = [];
        for (const file of files) found.push(await fitted(file, 12e6 / files.length));
        setTriggerValue("files", found);
    };
    document.addEventListener("paste", take);
    return parentElement.forget = () => document.removeEventListener("paste", take);
}
