update :table set total = total + 1;
