print("abn")
