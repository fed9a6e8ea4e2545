"""Tells photos taken by day from those taken by night, by their brightness."""

from PIL import ImageStat


class DayOrNight:
    def load(self):
        self.threshold = 60

    def predict(self, images):
        return [self.judge(ImageStat.Stat(image.convert("L")).mean[0]) for image in images]

    def judge(self, brightness):
        label = "day" if brightness > self.threshold else "night"
        return {"label": label, "confidence": min(1, 0.5 + abs(brightness - self.threshold) / 60)}
